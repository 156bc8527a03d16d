import type { Config } from '../../config.ts';
import { QdrantConnection } from './client.ts';
import type { PackLimits } from './encoding.ts';

/** The configured server, and how it is written to. */
export interface QdrantSink {
  connection: QdrantConnection;
  limits: PackLimits;
  concurrency: number;
  close(): Promise<void>;
}

export type QdrantConfig = Pick<
  Config,
  | 'qdrantUrl'
  | 'qdrantApiKey'
  | 'qdrantTimeoutMs'
  | 'qdrantConcurrency'
  | 'qdrantRequestBytes'
  | 'qdrantRequestPoints'
>;

/** About half a minute of patience with one request; then its shard goes back to the queue, which has more. */
const RETRIES = 5;
const FIRST_RETRY_DELAY_MS = 300;

/** Connects to nothing yet. Undefined where QDRANT_URL is not set. */
export function openQdrant(config: QdrantConfig): QdrantSink | undefined {
  if (config.qdrantUrl === undefined) return undefined;
  const connection = new QdrantConnection({
    url: config.qdrantUrl,
    ...(config.qdrantApiKey !== undefined && { apiKey: config.qdrantApiKey }),
    timeoutMs: config.qdrantTimeoutMs,
    concurrency: config.qdrantConcurrency,
    retries: RETRIES,
    retryDelayMs: FIRST_RETRY_DELAY_MS,
  });
  return {
    connection,
    limits: { maxBytes: config.qdrantRequestBytes, maxPoints: config.qdrantRequestPoints },
    concurrency: config.qdrantConcurrency,
    close: () => connection.close(),
  };
}
