import { Type } from 'typebox';
import { count, option } from './option.ts';

/** The sink. */
export const QDRANT_OPTIONS = {
  qdrantUrl: option(
    'QDRANT_URL',
    Type.String({ pattern: '^https?://[^@?#]+$' }),
    undefined,
    'The Qdrant server that jobs may write to, with its port (6333 without one).',
  ),
  qdrantGrpcUrl: option(
    'QDRANT_GRPC_URL',
    Type.String({ pattern: '^https?://[^@?#]+$' }),
    undefined,
    "The same server's gRPC port (6334 without one): points are then upserted by gRPC, which is faster. Everything else stays with QDRANT_URL.",
  ),
  qdrantApiKey: option(
    'QDRANT_API_KEY',
    Type.String({ minLength: 1 }),
    undefined,
    'Key for the Qdrant server.',
    {
      secret: true,
    },
  ),
  qdrantTargets: option(
    'QDRANT_TARGETS',
    Type.String({ minLength: 2 }),
    undefined,
    'More Qdrant servers, for `destination.target`: JSON, a name each: {"eu": {"url": "http://qdrant-eu:6333", "grpcUrl": "http://qdrant-eu:6334", "apiKey": "…"}}.',
    { secret: true },
  ),
  qdrantTimeoutMs: option(
    'QDRANT_TIMEOUT_MS',
    count(1),
    60_000,
    'A request to Qdrant that takes longer is tried again.',
  ),
  qdrantConcurrency: option(
    'QDRANT_CONCURRENCY',
    count(1, 64),
    4,
    'Requests to Qdrant in flight at most, of one worker; fewer while it answers 408, 429 or 503.',
  ),
  qdrantRequestBytes: option(
    'QDRANT_REQUEST_BYTES',
    count(1024, 32 * 1024 ** 2),
    8 * 1024 ** 2,
    'Bytes of one upsert; a single point that is larger travels alone. Qdrant refuses more than 32 MiB.',
  ),
  qdrantRequestPoints: option('QDRANT_REQUEST_POINTS', count(1, 10_000), 128, 'Points of one upsert.'),
} as const;
