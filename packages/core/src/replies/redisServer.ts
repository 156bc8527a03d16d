import { randomUUID } from 'node:crypto';
import type { Job } from 'bullmq';
import type { Redis } from 'ioredis';
import { type RedisScript, runBinaryScript } from '../backend/redisScript.ts';
import { giveBack, logQueueError } from '../queue/bullmq.ts';
import type { BullmqDriver, OpenedWorker } from '../queue/bullmqDriver.ts';
import { closeWorker } from '../queue/closeWorker.ts';
import type { Consumer } from '../queue/workQueue.ts';
import type { Beating, Presence } from '../registry/presence.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { TaskContext } from './interactiveLane.ts';
import { laneErrors, timerMs } from './laneErrors.ts';
import { errorToWire, packMessage, type ReplyMessage, unpackOffer, unpackTask } from './wire.ts';

/** Above this a published message endangers its subscriber's connection (Redis drops slow ones). */
const MAX_PUBLISHED_BYTES = 256 * 1024;
const STORED_REPLY_TTL_MS = 60_000;
const MAX_INT32 = 2 ** 31 - 1;

/** The BullMQ job of a request. The task itself lies under an expiring key, which its taking removes. */
export interface RequestJob {
  replyChannel: string;
  /** Milliseconds from the request to its deadline; how many are left, the key's expiry says. */
  allowedMs: number;
}

/**
 * Takes the task: once, and only before its deadline, by Redis's clock. Tells the asker who has it.
 * Answers the milliseconds left and the task, or nothing.
 */
const TAKE: RedisScript = {
  name: 'trivecTakeTask',
  keys: 1,
  lua: `
local left = redis.call('PTTL', KEYS[1])
local task = redis.call('GET', KEYS[1])
if not task then return nil end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return { left, task }`,
};

export interface RedisServerOptions {
  redis: Redis;
  driver: BullmqDriver;
  queueName: string;
  taskKey: (id: string) => string;
  offerKey: (id: string) => string;
  replyKey: (id: string) => string;
  presence: Presence;
  lockDurationMs: number;
  concurrency: number;
  logger: Logger;
  handler: (task: unknown, context: TaskContext) => Promise<unknown>;
}

/** What came out of the queue, or straight from its asker. */
interface Taken {
  id: string;
  replyChannel: string;
  task: Uint8Array;
  leftMs: number;
  queuedMs: number;
  /** False where its asker was faster and has taken it back. */
  isOurs?: Promise<boolean>;
}

/** One `serve` of the Redis lane: a BullMQ worker, and an ear for offers, whose answers go out by pub/sub. */
export class RedisServer implements Consumer {
  readonly id = randomUUID();
  readonly #options: RedisServerOptions;
  readonly #controllers = new Map<string, AbortController>();
  readonly #running = new Set<Promise<void>>();
  /** Handlers now running, and what came out of the queue while offers took their places. */
  #handlers = 0;
  readonly #waiting: (() => void)[] = [];
  #worker: OpenedWorker<RequestJob> | undefined;
  #beating: Beating | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: RedisServerOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { driver, queueName, lockDurationMs, concurrency, logger, presence } = this.#options;
    this.#worker = driver.openWorker<RequestJob>(
      queueName,
      (job, token) => this.#track(this.#process(job, token)),
      {
        concurrency,
        lockDuration: lockDurationMs,
        stalledInterval: lockDurationMs,
        // a second run finds the task taken, and ends at once
        maxStalledCount: MAX_INT32,
        runRetryDelay: 1_000,
      },
    );
    this.#worker.worker.on('error', (error) => logQueueError(driver, logger, error));
    await this.#worker.worker.waitUntilReady();
    this.#beating = await presence.enter(this.id, () => (this.#closing ? 'closing' : 'open'));
  }

  /** The asker left, or its deadline passed. */
  cancel(requestId: string): void {
    this.#controllers.get(requestId)?.abort(laneErrors.cancelled());
  }

  /** Takes what an asker sent straight here, or declines it: then it comes by the queue. */
  offer(bytes: Uint8Array): void {
    const { id, replyChannel, allowedMs, task } = unpackOffer(bytes);
    if (this.#closing || this.#running.size >= this.#options.concurrency) {
      this.#send(replyChannel, { id, kind: 'declined', server: this.id }).catch(() => undefined);
      return;
    }
    const { redis, offerKey } = this.#options;
    // On its way before the work begins: whoever dies of the work has taken it. Nor does the work wait for the answer.
    const isOurs = redis.del(offerKey(id)).then(
      (deleted) => deleted === 1,
      () => true,
    );
    // Sent twice, its connection having broken meanwhile.
    if (this.#controllers.has(id)) return;
    this.#handlers++;
    const taken = { id, replyChannel, task, leftMs: allowedMs, queuedMs: 0, isOurs };
    void this.#track(this.#answer(taken).finally(() => this.#free()));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // refuses new requests, while those that run may still answer
    await this.#beating?.beat().catch(() => undefined);
    const abort = () => {
      for (const controller of this.#controllers.values()) controller.abort(laneErrors.closing());
    };
    if (this.#worker) await closeWorker(this.#worker, this.#running, abort, this.#options.logger);
    await this.#beating?.close();
  }

  async #track(run: Promise<void>): Promise<void> {
    this.#running.add(run);
    try {
      await run;
    } finally {
      this.#running.delete(run);
    }
  }

  async #process(job: Job<RequestJob, void>, token: string | undefined): Promise<void> {
    if (this.#handlers < this.#options.concurrency) this.#handlers++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      // Nobody has been told that it is here.
      if (this.#closing) await giveBack(job, token);
      const taken = await this.#take(job);
      if (taken) await this.#answer(taken);
    } finally {
      this.#free();
    }
  }

  /** Hands a place on to whoever waits for one. */
  #free(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#handlers--;
  }

  async #take(job: Job<RequestJob, void>): Promise<Taken | undefined> {
    const { redis, taskKey } = this.#options;
    const id = job.id!;
    const { replyChannel, allowedMs } = job.data;
    const notice = packMessage({ id, kind: 'taken', server: this.id });
    const taken = await runBinaryScript<[left: number, task: Buffer] | null>(
      redis,
      TAKE,
      taskKey(id),
      replyChannel,
      notice,
    );
    if (!taken) return undefined;
    const [leftMs, task] = taken;
    return { id, replyChannel, task, leftMs, queuedMs: Math.max(0, allowedMs - leftMs) };
  }

  async #answer({ id, replyChannel, task, leftMs, queuedMs, isOurs }: Taken): Promise<void> {
    const { handler, redis } = this.#options;
    // What waits for a connection has not been sent.
    if (redis.status !== 'ready' && !(await (isOurs ?? true))) return;
    const deadlineAtMs = Date.now() + leftMs;
    const controller = new AbortController();
    this.#controllers.set(id, controller);
    if (this.#closing) controller.abort(laneErrors.closing());
    const timer = setTimeout(() => controller.abort(laneErrors.deadline()), timerMs(deadlineAtMs));
    void isOurs?.then((ours) => ours || controller.abort(laneErrors.cancelled()));
    const reply = async (message: ReplyMessage) => {
      if (await (isOurs ?? true)) await this.#send(replyChannel, message);
    };
    try {
      const value = await handler(unpackTask(task), { deadlineAtMs, queuedMs, signal: controller.signal });
      await reply({ id, kind: 'reply', value });
    } catch (error) {
      await reply({ id, kind: 'error', error: errorToWire(error) }).catch(() => undefined);
    } finally {
      clearTimeout(timer);
      // By the queue it may have come here again meanwhile.
      if (this.#controllers.get(id) === controller) this.#controllers.delete(id);
    }
  }

  async #send(channel: string, message: ReplyMessage): Promise<void> {
    const { redis, replyKey } = this.#options;
    const bytes = packMessage(message);
    if (bytes.length <= MAX_PUBLISHED_BYTES) {
      await redis.publish(channel, bytes);
      return;
    }
    const key = replyKey(message.id);
    await redis.set(key, bytes, 'PX', STORED_REPLY_TTL_MS);
    await redis.publish(channel, packMessage({ id: message.id, kind: 'stored', key }));
  }
}
