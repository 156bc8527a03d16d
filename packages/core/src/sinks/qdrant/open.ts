import { QdrantConnection } from './client.ts';
import type { PackLimits } from './encoding.ts';
import { type QdrantConfig, type QdrantTarget, qdrantTargets } from './targets.ts';

/** A configured server, and how it is written to. */
export interface QdrantSink {
  connection: QdrantConnection;
  limits: PackLimits;
  concurrency: number;
  close(): Promise<void>;
}

/** All configured servers. */
export interface QdrantSinks {
  /** The one of that name; without a name the one of QDRANT_URL. Undefined where there is none. */
  of(target: string | undefined): QdrantSink | undefined;
  /** Of QDRANT_TARGETS. */
  readonly names: readonly string[];
  close(): Promise<void>;
}

/** About half a minute of patience with one request; then its shard goes back to the queue, which has more. */
const RETRIES = 5;
const FIRST_RETRY_DELAY_MS = 300;

/** Connects to nothing yet. */
export function openTarget(target: QdrantTarget): QdrantSink {
  const { url, grpcUrl, apiKey, timeoutMs, concurrency, requestBytes, requestPoints } = target;
  const connection = new QdrantConnection({
    url,
    ...(grpcUrl !== undefined && { grpcUrl }),
    ...(apiKey !== undefined && { apiKey }),
    timeoutMs,
    concurrency,
    retries: RETRIES,
    retryDelayMs: FIRST_RETRY_DELAY_MS,
  });
  return {
    connection,
    limits: { maxBytes: requestBytes, maxPoints: requestPoints },
    concurrency,
    close: () => connection.close(),
  };
}

/** Connects to nothing yet. Undefined where no server is configured. Throws `invalid_config`. */
export function openQdrant(config: QdrantConfig): QdrantSinks | undefined {
  const sinks = new Map([...qdrantTargets(config)].map(([name, target]) => [name, openTarget(target)]));
  if (sinks.size === 0) return undefined;
  return {
    of: (target) => sinks.get(target),
    names: [...sinks.keys()].filter((name) => name !== undefined),
    close: async () => {
      await Promise.all([...sinks.values()].map((sink) => sink.close()));
    },
  };
}
