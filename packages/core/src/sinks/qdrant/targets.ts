import { Type } from 'typebox';
import { Value } from 'typebox/value';
import type { Config } from '../../config.ts';
import { TrivecError } from '../../errors.ts';
import { QDRANT_OPTIONS } from '../../options/qdrant.ts';

/** One configured server, and how it is written to. Plain data: it travels to another thread. */
export interface QdrantTarget {
  url: string;
  grpcUrl?: string;
  apiKey?: string;
  timeoutMs: number;
  concurrency: number;
  requestBytes: number;
  requestPoints: number;
}

export type QdrantConfig = Pick<
  Config,
  | 'qdrantUrl'
  | 'qdrantGrpcUrl'
  | 'qdrantApiKey'
  | 'qdrantTargets'
  | 'qdrantTimeoutMs'
  | 'qdrantConcurrency'
  | 'qdrantRequestBytes'
  | 'qdrantRequestPoints'
>;

export const TARGET_NAME = '^[A-Za-z0-9_-]{1,64}$';

const TargetsSchema = Type.Record(
  Type.String({ pattern: TARGET_NAME }),
  Type.Object(
    {
      url: QDRANT_OPTIONS.qdrantUrl.schema,
      grpcUrl: Type.Optional(QDRANT_OPTIONS.qdrantGrpcUrl.schema),
      apiKey: Type.Optional(QDRANT_OPTIONS.qdrantApiKey.schema),
    },
    { additionalProperties: false },
  ),
  { additionalProperties: false },
);

/** By name; under `undefined` the one of QDRANT_URL. Throws `invalid_config`. */
export function qdrantTargets(config: QdrantConfig): Map<string | undefined, QdrantTarget> {
  const common = {
    timeoutMs: config.qdrantTimeoutMs,
    concurrency: config.qdrantConcurrency,
    requestBytes: config.qdrantRequestBytes,
    requestPoints: config.qdrantRequestPoints,
  };
  const targets = new Map<string | undefined, QdrantTarget>();
  const { qdrantUrl: url, qdrantGrpcUrl: grpcUrl, qdrantApiKey: apiKey } = config;
  if (url !== undefined)
    targets.set(undefined, {
      url,
      ...(grpcUrl !== undefined && { grpcUrl }),
      ...(apiKey !== undefined && { apiKey }),
      ...common,
    });
  for (const [name, server] of Object.entries(parseTargets(config.qdrantTargets)))
    targets.set(name, { ...server, ...common });
  return targets;
}

function parseTargets(
  text: string | undefined,
): Record<string, { url: string; grpcUrl?: string; apiKey?: string }> {
  if (text === undefined) return {};
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw malformed('it is not JSON');
  }
  // Never the value: there are keys in it.
  if (!Value.Check(TargetsSchema, parsed)) {
    const [first] = Value.Errors(TargetsSchema, parsed);
    throw malformed(
      first === undefined ? 'it is malformed' : `${first.instancePath || 'it'} ${first.message}`,
    );
  }
  return parsed;
}

function malformed(why: string): TrivecError {
  const { env, description } = QDRANT_OPTIONS.qdrantTargets;
  return new TrivecError('invalid_config', `${env}: ${why}. ${description}`, { param: env });
}
