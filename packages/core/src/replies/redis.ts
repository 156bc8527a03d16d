import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { closeRedis, redisError } from '../backend/redisClient.ts';
import { type BullmqDriver, redisDriver } from '../queue/bullmqDriver.ts';
import type { Consumer } from '../queue/workQueue.ts';
import { Presence } from '../registry/presence.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { InteractiveLane, RequestOptions, TaskContext } from './interactiveLane.ts';
import { laneErrors } from './laneErrors.ts';
import { OpenServers } from './openServers.ts';
import { type Lane, PendingRequests } from './pendingRequests.ts';
import { openLaneQueue } from './redisRequests.ts';
import { RedisServer } from './redisServer.ts';
import { openSubscriber } from './subscriber.ts';
import { packTask, unpackMessage } from './wire.ts';

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
  readonly #pending: PendingRequests;
  readonly #servers = new Set<RedisServer>();
  #subscriber: Promise<Redis> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: RedisLaneOptions) {
    this.#options = options;
    this.#driver = redisDriver(options.redis, options.keyPrefix, options.logger);
    this.#replyChannel = `${options.keyPrefix}:replies:${randomUUID()}`;
    this.#pending = new PendingRequests({
      redis: options.redis,
      replyChannel: this.#replyChannel,
      offerChannel: (serverId) => this.#offerChannel(serverId),
      cancelChannel: (serverId) => this.#cancelChannel(serverId),
    });
  }

  async request<Task, Reply>(fingerprint: string, task: Task, options: RequestOptions): Promise<Reply> {
    if (this.#closing) throw laneErrors.closing();
    if (options.signal?.aborted) throw laneErrors.cancelled();
    try {
      // Before the queue is opened: one that Redis has not answered yet could not be closed.
      await this.#subscribe();
      const lane = this.#lane(fingerprint);
      if ((await lane.servers.read()).length === 0) throw laneErrors.noWorker();
      return (await this.#pending.send(lane, packTask(task), options)) as Reply;
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
      this.#pending.rejectAll(laneErrors.closing);
      await Promise.all([...this.#servers].map((server) => server.close()));
      await Promise.all([...this.#lanes.values()].map(({ queue }) => queue.close()));
      const subscriber = await this.#subscriber?.catch(() => undefined);
      if (subscriber) await closeRedis(subscriber);
    })();
    return this.#closing;
  }

  /** The connection on which answers are heard now: an answer to what is asked before would be lost. */
  async #subscribe(): Promise<Redis> {
    this.#subscriber ??= openSubscriber({
      redis: this.#options.redis,
      logger: this.#options.logger,
      channel: this.#replyChannel,
      receive: (channel, bytes) => this.#hear(channel, bytes),
      lost: () => this.#pending.rejectAll(laneErrors.workerGone),
    }).catch((error) => {
      this.#subscriber = undefined;
      throw error;
    });
    const subscriber = await this.#subscriber;
    if (subscriber.status !== 'ready') await subscriber.subscribe(this.#replyChannel);
    return subscriber;
  }

  #hear(channel: string, bytes: Buffer): void {
    if (channel === this.#replyChannel) this.#pending.receive(unpackMessage(bytes));
    else
      for (const server of this.#servers) {
        if (channel === this.#offerChannel(server.id)) server.offer(bytes);
        else if (channel === this.#cancelChannel(server.id)) server.cancel(bytes.toString());
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
