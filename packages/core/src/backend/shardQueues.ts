import { BullmqWorkQueue } from '../queue/bullmq.ts';
import type { BullmqDriver } from '../queue/bullmqDriver.ts';
import type { ShardPointer, WorkQueue } from '../queue/workQueue.ts';
import type { Logger } from '../telemetry/logger.ts';

/** The bulk queues of a backend, one a fingerprint, and one a destination; opened when first asked for. */
export function shardQueues(
  driver: BullmqDriver,
  lockDurationMs: number,
  logger: Logger,
): {
  of: (fingerprint: string) => WorkQueue<ShardPointer>;
  sink: (target?: string) => WorkQueue<ShardPointer>;
  close: () => Promise<void>;
} {
  const queues = new Map<string, BullmqWorkQueue<ShardPointer>>();
  const named = (name: string) => {
    let queue = queues.get(name);
    if (!queue) {
      queue = new BullmqWorkQueue<ShardPointer>({ name, driver, lockDurationMs, logger });
      queues.set(name, queue);
    }
    return queue;
  };
  return {
    of: (fingerprint) => named(`bulk.${encodeURIComponent(fingerprint)}`),
    // A server that is away must not keep another's shards.
    sink: (target) => named(target === undefined ? 'sink' : `sink.${target}`),
    close: async () => {
      await Promise.all([...queues.values()].map((queue) => queue.close()));
    },
  };
}
