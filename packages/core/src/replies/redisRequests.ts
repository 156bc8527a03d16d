/** The two ways of a request to a server: through the queue, or straight. */
import type { Queue } from 'bullmq';
import type { Redis } from 'ioredis';
import type { BullmqDriver } from '../queue/bullmqDriver.ts';
import { laneErrors } from './laneErrors.ts';
import type { RequestJob } from './redisServer.ts';
import { packOffer } from './wire.ts';

/** Longer than most deadlines: what processes that died had offered is forgotten. */
const OFFERED_KEY_TTL_MS = 600_000;

/** The queue of a fingerprint, and the keys beside it. */
export interface LaneQueue {
  queue: Queue<RequestJob>;
  queueName: string;
  taskKey: (id: string) => string;
  /** There as long as nobody has taken a request that went straight to a server: whoever deletes it has it. */
  offerKey: (id: string) => string;
  replyKey: (id: string) => string;
  /** Ids of requests that went straight to a server, by deadline: what the queue does not count. */
  offeredKey: string;
}

export interface SentRequest {
  id: string;
  /** As `packTask` made it. */
  task: Buffer;
  replyChannel: string;
  /** Milliseconds between the request and its deadline. */
  allowedMs: number;
  deadlineAtMs: number;
}

export function openLaneQueue(driver: BullmqDriver, keyPrefix: string, name: string): LaneQueue {
  const queueName = driver.queueName(name);
  const queue = driver.openQueue<RequestJob>(queueName);
  // failures reach the callers
  queue.on('error', () => undefined);
  return {
    queue,
    queueName,
    taskKey: (id) => `${keyPrefix}:${queueName}:task:${id}`,
    offerKey: (id) => `${keyPrefix}:${queueName}:offer:${id}`,
    replyKey: (id) => `${keyPrefix}:${queueName}:reply:${id}`,
    offeredKey: `${keyPrefix}:${queueName}:offered`,
  };
}

/** Throws `deadline_exceeded` where no time is left. */
export async function enqueueRequest(redis: Redis, lane: LaneQueue, request: SentRequest): Promise<void> {
  const { id, task, replyChannel, allowedMs, deadlineAtMs } = request;
  const leftMs = Math.floor(deadlineAtMs - Date.now());
  if (leftMs <= 0) throw laneErrors.deadline();
  const job = { jobId: id, attempts: 1, removeOnComplete: true, removeOnFail: true, stackTraceLimit: 0 };
  // one after the other on one connection: the task is there before the job can be taken
  const stored = redis.set(lane.taskKey(id), task, 'PX', leftMs);
  await Promise.all([stored, lane.queue.add('request', { replyChannel, allowedMs }, job)]);
}

/** False where nobody was there to hear it. Throws `deadline_exceeded` where no time is left. */
export async function offerRequest(
  redis: Redis,
  { offeredKey, offerKey }: LaneQueue,
  channel: string,
  { id, task, replyChannel, deadlineAtMs }: SentRequest,
): Promise<boolean> {
  // Less than at first where another server has let it lie.
  const leftMs = Math.floor(deadlineAtMs - Date.now());
  if (leftMs <= 0) throw laneErrors.deadline();
  const replies = await redis
    .pipeline()
    .zadd(offeredKey, deadlineAtMs, id)
    .pexpire(offeredKey, Math.max(leftMs, OFFERED_KEY_TTL_MS))
    .set(offerKey(id), '', 'PX', leftMs)
    .publish(channel, packOffer({ id, replyChannel, allowedMs: leftMs, task }))
    .exec();
  for (const [error] of replies ?? []) if (error) throw error;
  return replies?.at(-1)?.[1] !== 0;
}

/** True where its server has not taken the request and never will; another may have it then. */
export async function takeBackOffer(redis: Redis, { offerKey }: LaneQueue, id: string): Promise<boolean> {
  return (await redis.del(offerKey(id))) === 1;
}
