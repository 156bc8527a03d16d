import { toTrivecError } from '@trivec/core/errors';
import { passToSink } from '@trivec/core/jobs/enqueue';
import { Prefetch } from '@trivec/core/jobs/prefetch';
import { runShard } from '@trivec/core/jobs/shardRunner';
import type { Consumer, ShardPointer } from '@trivec/core/queue/workQueue';
import type { LaneDeps } from './lane.ts';

/** Takes shards of the engine's fingerprint, several at once: one runs while the next is prepared. */
export function serveBulk(deps: LaneDeps): Promise<Consumer> {
  const { backend, config, engine, metrics, logger } = deps;
  const model = engine.model.name;
  const prefetch = new Prefetch(config);
  return backend.shardQueue(engine.model.fingerprint).consume(
    async ({ data }, signal) => {
      try {
        const outcome = await runShard(deps, data, signal);
        if (outcome.stored) {
          metrics.texts.inc({ model, lane: 'bulk' }, outcome.embedded);
          metrics.tokens.inc({ model, lane: 'bulk' }, outcome.tokens);
          metrics.twins.inc({ model }, outcome.twins);
          metrics.twinBytes.set(deps.texts.bytes);
          logger.debug({ ...data, ...outcome }, 'shard stored');
          prefetch.noted(outcome);
          if (outcome.destination) await pass(data, outcome.destination.target);
        }
        metrics.shards.inc({ model, outcome: outcome.stored ? 'stored' : outcome.reason });
      } catch (error) {
        const { code, message, retryable } = toTrivecError(error);
        metrics.shards.inc({ model, outcome: code });
        if (code !== 'shutting_down') logger.warn({ ...data, code, message, retryable }, 'shard given back');
        throw error;
      }
    },
    { concurrency: () => prefetch.shards(engine.tokensPerSecond()) },
  );

  /** The shard is stored whatever happens here: the reconciler passes on what was not. */
  async function pass(pointer: ShardPointer, target: string | undefined): Promise<void> {
    try {
      await passToSink(backend.sinkQueue(target), pointer);
    } catch (error) {
      logger.warn({ ...pointer, err: error }, 'passing a shard on failed; the reconciler will do it');
    }
  }
}
