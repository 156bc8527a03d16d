import type { Backend } from '@trivec/core/backend/backend';
import { toTrivecError } from '@trivec/core/errors';
import { runSinkShard } from '@trivec/core/jobs/sinkStage';
import { startSinkWriter } from '@trivec/core/jobs/sinkWriter';
import type { Consumer } from '@trivec/core/queue/workQueue';
import { openQdrant } from '@trivec/core/sinks/qdrant/open';
import type { BlobStore } from '@trivec/core/storage/blobStore';
import type { WorkerMetrics } from '@trivec/core/telemetry/metrics';
import type { Logger } from 'pino';

export interface SinkLaneDeps {
  config: Parameters<typeof openQdrant>[0];
  backend: Backend;
  storage: BlobStore;
  metrics: WorkerMetrics;
  logger: Logger;
}

/** Shards at once: while one waits for an answer, another is encoded. The connection bounds the requests. */
const CONCURRENT_SHARDS = 2;

/**
 * Takes stored shards to their destination. It holds no slot of an engine: a destination that is away stops
 * nothing else. Undefined where QDRANT_URL is not set: somebody else's worker must do it.
 */
export async function serveSink(deps: SinkLaneDeps): Promise<Consumer | undefined> {
  const { config, backend, storage, metrics, logger } = deps;
  const sink = openQdrant(config);
  if (sink === undefined) return undefined;
  const writer = startSinkWriter(config);
  const observer = {
    onWritten: (points: number, bytes: number) => {
      metrics.sinkPoints.inc(points);
      metrics.sinkBytes.inc(bytes);
    },
    onRetry: () => metrics.sinkRetries.inc(),
    onSlowDown: () => metrics.sinkSlowDowns.inc(),
  };
  const consumer = await backend.sinkQueue().consume(
    async ({ data }, signal) => {
      try {
        const outcome = await runSinkShard(
          { ledger: backend.ledger, storage, sink, writer, logger, observer },
          data,
          signal,
        );
        metrics.sinkShards.inc({ outcome: outcome.written ? 'written' : outcome.reason });
        logger.debug({ ...data, ...outcome }, 'shard taken to its destination');
      } catch (error) {
        const { code, message, retryable } = toTrivecError(error);
        metrics.sinkShards.inc({ outcome: code });
        if (code !== 'shutting_down') logger.warn({ ...data, code, message, retryable }, 'shard not written');
        throw error;
      }
    },
    { concurrency: CONCURRENT_SHARDS },
  );
  logger.info({ qdrant: sink.connection.description }, 'destination served');
  return {
    close: async () => {
      await consumer.close();
      await writer.close();
      await sink.close();
    },
  };
}
