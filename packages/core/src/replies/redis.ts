import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { closeRedis, redisError } from '../backend/redisClient.ts';
import { type BullmqDriver, redisDriver } from '../queue/bullmqDriver.ts';
import type { Consumer } from '../queue/workQueue.ts';
import { Presence } from '../registry/presence.ts';
import type { Logger } from '../telemetry/logger.ts';
import { chooseServer, judgeOffer, MAX_OFFERED_BYTES } from './directOffer.ts';
import type { InteractiveLane, RequestOptions, TaskContext } from './interactiveLane.ts';
import { laneErrors, timerMs } from './laneErrors.ts';
import { OpenServers } from './openServers.ts';
import { enqueueRequest, type LaneQueue, offerRequest, openLaneQueue } from './redisRequests.ts';
import { RedisServer } from './redisServer.ts';
import { openSubscriber } from './subscriber.ts';
import { errorFromWire, packTask, type ReplyMessage, unpackMessage } from './wire.ts';

/** How often those who wait are checked against the servers alive. */
const WATCH_INTERVAL_MS = 1_000;

interface Pending {
  lane: Lane;
  /** Who was offered it or has taken it; undefined while it is in the queue. */
  server: string | undefined;
  /** While the server has not said whether it takes it. */
  offeredAtMs: number | undefined;
  wasOffered: boolean;
  /** From an offer that came to nothing to the queue, where any server takes it. */
  enqueue(): void;
  resolve(reply: unknown): void;
  reject(error: unknown): void;
}

interface Lane extends LaneQueue {
  servers: OpenServers;
}

export interface RedisLaneOptions {
  redis: Redis;
  keyPrefix: string;
  lockDurationMs: number;
  logger: Logger;
}

/**
 * The lane of many processes: requests straight to a server while there are few, else through a BullMQ queue a
 * fingerprint; answers as binary messages on one channel a process. Servers say that they are there by heartbeat.
 */
export class RedisLane implements InteractiveLane {
  readonly #options: RedisLaneOptions;
  readonly #driver: BullmqDriver;
  readonly #replyChannel: string;
  readonly #lanes = new Map<string, Lane>();
  readonly #pending = new Map<string, Pending>();
  readonly #servers = new Set<RedisServer>();
  #subscriber: Promise<Redis> | undefined;
  #watch: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: RedisLaneOptions) {
    this.#options = options;
    this.#driver = redisDriver(options.redis, options.keyPrefix, options.logger);
    this.#replyChannel = `${options.keyPrefix}:replies:${randomUUID()}`;
  }

  async request<Task, Reply>(fingerprint: string, task: Task, options: RequestOptions): Promise<Reply> {
    if (this.#closing) throw laneErrors.closing();
    if (options.signal?.aborted) throw laneErrors.cancelled();
    try {
      // Before the queue is opened: one that Redis has not answered yet could not be closed.
      await this.#subscribe();
      const lane = this.#lane(fingerprint);
      if ((await lane.servers.read()).length === 0) throw laneErrors.noWorker();
      return (await this.#send(lane, packTask(task), options)) as Reply;
    } catch (error) {
      throw redisError(error);
    }
  }

  async serve<Task, Reply>(
    fingerprint: string,
    handler: (task: Task, context: TaskContext) => Promise<Reply>,
    { concurrency }: { concurrency: number },
  ): Promise<Consumer> {
    if (this.#closing) throw laneErrors.closing();
    try {
      const subscriber = await this.#subscribe();
      const lane = this.#lane(fingerprint);
      const server = new RedisServer({
        ...lane,
        presence: lane.servers.presence,
        redis: this.#options.redis,
        driver: this.#driver,
        lockDurationMs: this.#options.lockDurationMs,
        logger: this.#options.logger,
        concurrency,
        handler: handler as (task: unknown, context: TaskContext) => Promise<unknown>,
      });
      const channels = [this.#cancelChannel(server.id), this.#offerChannel(server.id)];
      const close = async () => {
        await server.close();
        // Until then it hears, and declines, what is still offered.
        if (subscriber.status === 'ready') await subscriber.unsubscribe(...channels).catch(() => undefined);
        this.#servers.delete(server);
      };
      this.#servers.add(server);
      try {
        await subscriber.subscribe(...channels);
        await server.start();
      } catch (error) {
        await close();
        throw error;
      }
      return { close };
    } catch (error) {
      throw redisError(error);
    }
  }

  async depth(fingerprint: string): Promise<number> {
    const { redis } = this.#options;
    try {
      const { queue, offeredKey } = this.#lane(fingerprint);
      const [, counts, offered] = await Promise.all([
        // What processes that were killed had offered: while others offer, too, the key does not expire.
        redis.zremrangebyscore(offeredKey, '-inf', Date.now()),
        queue.getJobCounts('waiting', 'active'),
        redis.zcard(offeredKey),
      ]);
      return (counts.waiting ?? 0) + (counts.active ?? 0) + offered;
    } catch (error) {
      throw redisError(error);
    }
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      for (const { reject } of this.#pending.values()) reject(laneErrors.closing());
      await Promise.all([...this.#servers].map((server) => server.close()));
      await Promise.all([...this.#lanes.values()].map(({ queue }) => queue.close()));
      const subscriber = await this.#subscriber?.catch(() => undefined);
      if (subscriber) await closeRedis(subscriber);
    })();
    return this.#closing;
  }

  async #send(lane: Lane, task: Buffer, { deadlineAtMs, signal }: RequestOptions): Promise<unknown> {
    const allowedMs = Math.floor(deadlineAtMs - Date.now());
    if (allowedMs <= 0) throw laneErrors.deadline();
    // it may have left while the servers were looked up
    if (signal?.aborted) throw laneErrors.cancelled();
    const id = randomUUID();
    const { redis } = this.#options;
    const request = { id, task, replyChannel: this.#replyChannel, allowedMs, deadlineAtMs };
    return await new Promise((resolve, reject) => {
      const settle = (action: () => void) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        this.#pending.delete(id);
        if (this.#pending.size === 0) this.#stopWatching();
        action();
        this.#forgetOffer(id, pending);
      };
      const pending: Pending = {
        lane,
        server: undefined,
        offeredAtMs: undefined,
        wasOffered: false,
        enqueue: () => {
          this.#forgetOffer(id, pending);
          pending.server = undefined;
          pending.offeredAtMs = undefined;
          enqueueRequest(redis, lane, request).catch((error) => giveUp(redisError(error)));
        },
        resolve: (reply) => settle(() => resolve(reply)),
        reject: (error) => settle(() => reject(error)),
      };
      const giveUp = (error: Error) => {
        pending.reject(error);
        this.#withdraw(id, pending);
      };
      const onAbort = () => giveUp(laneErrors.cancelled());
      const timer = setTimeout(() => giveUp(laneErrors.deadline()), timerMs(deadlineAtMs));
      signal?.addEventListener('abort', onAbort, { once: true });
      const others = [...this.#pending.values()].filter((other) => other.lane === lane);
      const server =
        task.length > MAX_OFFERED_BYTES
          ? undefined
          : chooseServer(
              lane.servers.hearing(),
              others.map((other) => other.server),
            );
      this.#pending.set(id, pending);
      this.#startWatching();
      if (server === undefined) {
        pending.enqueue();
        return;
      }
      pending.server = server;
      pending.offeredAtMs = Date.now();
      pending.wasOffered = true;
      offerRequest(redis, lane, this.#offerChannel(server), request).then(
        (isHeard) => {
          if (!this.#pending.has(id) || pending.offeredAtMs === undefined) return;
          if (isHeard) pending.offeredAtMs = Date.now();
          else pending.enqueue();
        },
        (error) => giveUp(redisError(error)),
      );
    });
  }

  #forgetOffer(id: string, pending: Pending): void {
    if (!pending.wasOffered) return;
    pending.wasOffered = false;
    this.#options.redis.zrem(pending.lane.offeredKey, id).catch(() => undefined);
  }

  /** Best effort: what can't be withdrawn expires. */
  #withdraw(id: string, { lane, server }: Pending): void {
    const ignore = () => undefined;
    this.#options.redis.del(lane.taskKey(id)).catch(ignore);
    if (server) this.#options.redis.publish(this.#cancelChannel(server), id).catch(ignore);
    else lane.queue.remove(id).catch(ignore);
  }

  /** The connection on which answers are heard now: an answer to what is asked before would be lost. */
  async #subscribe(): Promise<Redis> {
    this.#subscriber ??= openSubscriber({
      redis: this.#options.redis,
      logger: this.#options.logger,
      channel: this.#replyChannel,
      receive: (channel, bytes) => this.#hear(channel, bytes),
      lost: () => {
        for (const { reject } of this.#pending.values()) reject(laneErrors.workerGone());
      },
    }).catch((error) => {
      this.#subscriber = undefined;
      throw error;
    });
    const subscriber = await this.#subscriber;
    if (subscriber.status !== 'ready') await subscriber.subscribe(this.#replyChannel);
    return subscriber;
  }

  #hear(channel: string, bytes: Buffer): void {
    if (channel === this.#replyChannel) this.#receive(unpackMessage(bytes));
    else
      for (const server of this.#servers) {
        if (channel === this.#offerChannel(server.id)) server.offer(bytes);
        else if (channel === this.#cancelChannel(server.id)) server.cancel(bytes.toString());
      }
  }

  #receive(message: ReplyMessage): void {
    const pending = this.#pending.get(message.id);
    if (message.kind === 'taken') {
      if (pending) {
        pending.server = message.server;
        pending.offeredAtMs = undefined;
      }
      // given up while it was being taken
      else
        this.#options.redis.publish(this.#cancelChannel(message.server), message.id).catch(() => undefined);
    } else if (message.kind === 'declined') {
      if (pending?.offeredAtMs !== undefined) pending.enqueue();
    } else if (message.kind === 'stored') {
      this.#options.redis
        .getdelBuffer(message.key)
        .then((bytes) =>
          bytes ? this.#receive(unpackMessage(bytes)) : pending?.reject(laneErrors.workerGone()),
        )
        .catch((error) => pending?.reject(redisError(error)));
    } else if (message.kind === 'error') {
      pending?.reject(errorFromWire(message.error));
    } else if (pending) {
      // an offer thought lost: nobody needs what went to the queue instead
      if (pending.server === undefined) this.#withdraw(message.id, pending);
      pending.resolve(message.value);
    }
  }

  #startWatching(): void {
    this.#watch ??= setInterval(() => void this.#checkServers(), WATCH_INTERVAL_MS);
  }

  #stopWatching(): void {
    clearInterval(this.#watch);
    this.#watch = undefined;
  }

  /** Ends what waits for a server that has vanished. While Redis is away nothing can be said. */
  async #checkServers(): Promise<void> {
    const lanes = new Set([...this.#pending.values()].map(({ lane }) => lane));
    for (const lane of lanes) {
      const askedAtMs = Date.now();
      const alive = await lane.servers.presence.sinceHeartbeatMs().catch(() => undefined);
      if (!alive) continue;
      for (const [id, pending] of this.#pending) {
        if (pending.lane !== lane) continue;
        const { server, offeredAtMs } = pending;
        if (server !== undefined && offeredAtMs !== undefined) {
          const state = judgeOffer(askedAtMs - offeredAtMs, alive.get(server));
          if (state !== 'young') lane.servers.avoid(server);
          if (state === 'unheard') pending.enqueue();
          if (state !== 'gone') continue;
        } else if (server === undefined ? alive.size > 0 : alive.has(server)) continue;
        pending.reject(server === undefined ? laneErrors.noWorker() : laneErrors.workerGone());
        this.#withdraw(id, pending);
      }
    }
  }

  #lane(fingerprint: string): Lane {
    let lane = this.#lanes.get(fingerprint);
    if (!lane) {
      const { redis, keyPrefix, logger } = this.#options;
      const name = `interactive.${encodeURIComponent(fingerprint)}`;
      const servers = new OpenServers(new Presence(redis, keyPrefix, `${name}.servers`, logger));
      lane = { ...openLaneQueue(this.#driver, keyPrefix, name), servers };
      this.#lanes.set(fingerprint, lane);
    }
    return lane;
  }

  #offerChannel(serverId: string): string {
    return `${this.#options.keyPrefix}:offer:${serverId}`;
  }

  #cancelChannel(serverId: string): string {
    return `${this.#options.keyPrefix}:cancel:${serverId}`;
  }
}
