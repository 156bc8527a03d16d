import { BullmqWorkQueue } from '../queue/bullmq.ts';
import type { BullmqDriver } from '../queue/bullmqDriver.ts';
import type { ShardPointer, WorkQueue } from '../queue/workQueue.ts';
import type { Logger } from '../telemetry/logger.ts';

/** The bulk queues of a backend, one a fingerprint, opened when first asked for. */
export function shardQueues(
  driver: BullmqDriver,
  lockDurationMs: number,
  logger: Logger,
): { of: (fingerprint: string) => WorkQueue<ShardPointer>; close: () => Promise<void> } {
  const queues = new Map<string, BullmqWorkQueue<ShardPointer>>();
  return {
    of: (fingerprint) => {
      let queue = queues.get(fingerprint);
      if (!queue) {
        const name = `bulk.${encodeURIComponent(fingerprint)}`;
        queue = new BullmqWorkQueue<ShardPointer>({ name, driver, lockDurationMs, logger });
        queues.set(fingerprint, queue);
      }
      return queue;
    },
    close: async () => {
      await Promise.all([...queues.values()].map((queue) => queue.close()));
    },
  };
}
