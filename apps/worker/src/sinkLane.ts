import type { Backend } from '@trivec/core/backend/backend';
import { toTrivecError } from '@trivec/core/errors';
import { runSinkShard } from '@trivec/core/jobs/sinkStage';
import { startSinkWriter } from '@trivec/core/jobs/sinkWriter';
import type { Consumer } from '@trivec/core/queue/workQueue';
import { Resources } from '@trivec/core/shutdown';
import { openTarget } from '@trivec/core/sinks/qdrant/open';
import { type QdrantConfig, type QdrantTarget, qdrantTargets } from '@trivec/core/sinks/qdrant/targets';
import type { BlobStore } from '@trivec/core/storage/blobStore';
import type { WorkerMetrics } from '@trivec/core/telemetry/metrics';
import type { Logger } from 'pino';

export interface SinkLaneDeps {
  config: QdrantConfig;
  backend: Backend;
  storage: BlobStore;
  metrics: WorkerMetrics;
  logger: Logger;
}

/** Shards at once: while one waits for an answer, another is encoded. The connection bounds the requests. */
const CONCURRENT_SHARDS = 2;

/**
 * Takes stored shards to their destinations, a lane a server: one that is away stops nothing else. It holds no slot of
 * an engine. Where none is configured, somebody else's worker must do it. Throws `invalid_config`.
 */
export async function serveSinks(deps: SinkLaneDeps): Promise<Consumer> {
  const lanes = new Resources();
  try {
    for (const [name, target] of qdrantTargets(deps.config)) lanes.add(await serveSink(deps, name, target));
  } catch (error) {
    await lanes.close();
    throw error;
  }
  return lanes;
}

async function serveSink(
  { backend, storage, metrics, logger }: SinkLaneDeps,
  name: string | undefined,
  target: QdrantTarget,
): Promise<Consumer> {
  const sink = openTarget(target);
  const writer = startSinkWriter(target);
  const observer = {
    onWritten: (points: number, bytes: number) => {
      metrics.sinkPoints.inc(points);
      metrics.sinkBytes.inc(bytes);
    },
    onRetry: () => metrics.sinkRetries.inc(),
    onSlowDown: () => metrics.sinkSlowDowns.inc(),
  };
  const consumer = await backend.sinkQueue(name).consume(
    async ({ data }, signal) => {
      try {
        const outcome = await runSinkShard(
          { ledger: backend.ledger, storage, target: name, sink, writer, logger, observer },
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
  logger.info({ target: name, qdrant: sink.connection.description }, 'destination served');
  return {
    close: async () => {
      await consumer.close();
      await writer.close();
      await sink.close();
    },
  };
}
