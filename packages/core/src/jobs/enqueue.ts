import { type ShardPointer, shardQueueId, type WorkQueue } from '../queue/workQueue.ts';
import type { Ledger } from './ledger.ts';
import type { JobRecord } from './records.ts';

const PAGE = 500;

/** The ordinals of a job's pending shards, some hundreds at a time. */
export async function* pendingOrdinals(ledger: Ledger, jobId: string): AsyncGenerator<number[]> {
  let page: number[] = [];
  for await (const shard of ledger.shards(jobId)) {
    if (shard.state !== 'pending') continue;
    page.push(shard.ordinal);
    if (page.length < PAGE) continue;
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
}

/**
 * Adds every pending shard that the queue does not hold; returns how many there were. Ids are
 * deterministic: adding one that somebody else adds at the same time changes nothing. A shard's fair offset
 * is its index among what is still to be done: a resumed job does not pay for what it had done before.
 */
export async function enqueuePending(
  ledger: Ledger,
  queue: WorkQueue<ShardPointer>,
  job: Pick<JobRecord, 'id'>,
): Promise<number> {
  let added = 0;
  let index = 0;
  for await (const ordinals of pendingOrdinals(ledger, job.id)) {
    const items = ordinals.map((ordinal) => {
      const data = { jobId: job.id, ordinal };
      return { id: shardQueueId(data, 'embed'), data, fairOffset: index++ };
    });
    const present = await queue.present(items.map(({ id }) => id));
    const missing = items.filter(({ id }) => !present.has(id));
    if (missing.length > 0) await queue.add(missing);
    added += missing.length;
  }
  return added;
}

/** Takes the given shards out of the queue; what runs elsewhere finds out from the ledger. */
export async function dequeue(
  queue: WorkQueue<ShardPointer>,
  jobId: string,
  ordinals: readonly number[],
): Promise<void> {
  await queue.remove(ordinals.map((ordinal) => shardQueueId({ jobId, ordinal }, 'embed')));
}
