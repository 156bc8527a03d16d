import { type ShardPointer, shardQueueId, type WorkQueue } from '../queue/workQueue.ts';
import type { Ledger } from './ledger.ts';
import { isWritten, type JobOptions, type JobRecord, type Priority } from './records.ts';
import { isEnded } from './stateMachine.ts';

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

/** A priority is a factor of the weight, so that no job waits for ever behind those of a higher one. */
const PRIORITY_FACTORS: Record<Priority, number> = { low: 1 / 4, normal: 1, high: 4 };

/** How far apart in the queue two shards of a job stand: its share of the workers, reversed. */
export function fairStep({
  weight = 1,
  priority = 'normal',
}: Pick<JobOptions, 'weight' | 'priority'>): number {
  return 1 / (weight * PRIORITY_FACTORS[priority]);
}

/**
 * Adds every pending shard that the queue does not hold; returns how many there were. Ids are
 * deterministic: adding one that somebody else adds at the same time changes nothing. A shard's fair offset
 * is its index among what is still to be done, over the job's weight: a resumed job does not pay for what it had done before.
 */
export async function enqueuePending(
  ledger: Ledger,
  queue: WorkQueue<ShardPointer>,
  job: Pick<JobRecord, 'id' | 'options'>,
): Promise<number> {
  const step = fairStep(job.options);
  let added = 0;
  let index = 0;
  for await (const ordinals of pendingOrdinals(ledger, job.id)) {
    added += await addMissing(queue, 'embed', job.id, ordinals, (i) => step * (index + i));
    index += ordinals.length;
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

/**
 * The same for what is stored and must still reach the job's destination. Where nothing is left to write but
 * something to put in order, the last shard is sent again: whoever takes it finds out.
 */
export async function enqueueStored(
  ledger: Ledger,
  sinkQueue: (target: string | undefined) => WorkQueue<ShardPointer>,
  job: JobRecord,
): Promise<number> {
  if (job.sink === undefined || job.status === 'paused') return 0;
  const queue = sinkQueue(job.options.destination?.target);
  const { total, written } = job.shards;
  if (isEnded(job) || written === total)
    return job.sink.finished ? 0 : addMissing(queue, 'sink', job.id, [total - 1], () => 0);
  let added = 0;
  let index = 0;
  let page: number[] = [];
  const flush = async () => {
    added += await addMissing(queue, 'sink', job.id, page, (i) => index + i);
    index += page.length;
    page = [];
  };
  for await (const shard of ledger.shards(job.id)) {
    if (shard.state === 'pending' || isWritten(job, shard)) continue;
    page.push(shard.ordinal);
    if (page.length === PAGE) await flush();
  }
  if (page.length > 0) await flush();
  return added;
}

async function addMissing(
  queue: WorkQueue<ShardPointer>,
  stage: 'embed' | 'sink',
  jobId: string,
  ordinals: readonly number[],
  fairOffsetOf: (index: number) => number,
): Promise<number> {
  const items = ordinals.map((ordinal, i) => {
    const data = { jobId, ordinal };
    return { id: shardQueueId(data, stage), data, fairOffset: fairOffsetOf(i) };
  });
  const present = await queue.present(items.map(({ id }) => id));
  const missing = items.filter(({ id }) => !present.has(id));
  if (missing.length > 0) await queue.add(missing);
  return missing.length;
}

/** What was just stored goes on to the destination, behind the shards of other jobs in turn. */
export async function passToSink(queue: WorkQueue<ShardPointer>, pointer: ShardPointer): Promise<void> {
  await queue.add([{ id: shardQueueId(pointer, 'sink'), data: pointer, fairOffset: pointer.ordinal }]);
}
