import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { redisError } from '../backend/redisClient.ts';
import { chooseServer, MAX_OFFERED_BYTES, TAKE_BACK_AFTER_MS } from './directOffer.ts';
import type { RequestOptions } from './interactiveLane.ts';
import { laneErrors, timerMs } from './laneErrors.ts';
import type { OpenServers } from './openServers.ts';
import {
  enqueueRequest,
  type LaneQueue,
  offerRequest,
  type SentRequest,
  takeBackOffer,
} from './redisRequests.ts';
import { errorFromWire, type ReplyMessage, unpackMessage } from './wire.ts';

/** How often those who wait are checked against the servers alive. */
const WATCH_INTERVAL_MS = 1_000;

/** The lane of one fingerprint, as askers see it. */
export interface Lane extends LaneQueue {
  servers: OpenServers;
}

interface Pending {
  readonly lane: Lane;
  readonly request: SentRequest;
  /** Who was offered it or has taken it; undefined while it is in the queue. */
  server: string | undefined;
  /** As long as its server is not known to have taken it. */
  offeredAtMs: number | undefined;
  /** Counted as offered. */
  wasOffered: boolean;
  resolve(reply: unknown): void;
  reject(error: unknown): void;
}

export interface PendingRequestsOptions {
  redis: Redis;
  /** Where this process hears answers. */
  replyChannel: string;
  offerChannel: (serverId: string) => string;
  cancelChannel: (serverId: string) => string;
}

/** What this process has asked and not yet been answered: sent, watched, withdrawn, and ended by what is heard of it. */
export class PendingRequests {
  readonly #options: PendingRequestsOptions;
  readonly #pending = new Map<string, Pending>();
  #watch: NodeJS.Timeout | undefined;

  constructor(options: PendingRequestsOptions) {
    this.#options = options;
  }

  /** Straight to a server, or to the queue; resolves with the reply. Errors: as `InteractiveLane.request`. */
  async send(lane: Lane, task: Buffer, { deadlineAtMs, signal }: RequestOptions): Promise<unknown> {
    const allowedMs = Math.floor(deadlineAtMs - Date.now());
    if (allowedMs <= 0) throw laneErrors.deadline();
    // it may have left while the servers were looked up
    if (signal?.aborted) throw laneErrors.cancelled();
    const id = randomUUID();
    const { replyChannel } = this.#options;
    const request = { id, task, replyChannel, allowedMs, deadlineAtMs };
    return await new Promise((resolve, reject) => {
      const settle = (action: () => void) => {
        if (!this.#pending.delete(id)) return;
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        if (this.#pending.size === 0) this.#stopWatching();
        action();
        this.#forgetOffer(pending);
      };
      const pending: Pending = {
        lane,
        request,
        server: undefined,
        offeredAtMs: undefined,
        wasOffered: false,
        resolve: (reply) => settle(() => resolve(reply)),
        reject: (error) => settle(() => reject(error)),
      };
      const onAbort = () => this.#giveUp(pending, laneErrors.cancelled());
      const timer = setTimeout(() => this.#giveUp(pending, laneErrors.deadline()), timerMs(deadlineAtMs));
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#pending.set(id, pending);
      this.#startWatching();
      const server = this.#serverFor(pending);
      void (server === undefined ? this.#enqueue(pending) : this.#offer(pending, server));
    });
  }

  /** What was heard on the reply channel. */
  receive(message: ReplyMessage): void {
    const { redis, cancelChannel } = this.#options;
    const pending = this.#pending.get(message.id);
    if (message.kind === 'taken') {
      if (pending) {
        pending.server = message.server;
        pending.offeredAtMs = undefined;
      }
      // given up while it was being taken
      else redis.publish(cancelChannel(message.server), message.id).catch(() => undefined);
    } else if (message.kind === 'declined') {
      if (pending?.offeredAtMs !== undefined) void this.#requeue(pending);
    } else if (message.kind === 'stored') {
      redis
        .getdelBuffer(message.key)
        .then((bytes) =>
          bytes ? this.receive(unpackMessage(bytes)) : pending?.reject(laneErrors.workerGone()),
        )
        .catch((error) => pending?.reject(redisError(error)));
    } else if (message.kind === 'error') {
      pending?.reject(errorFromWire(message.error));
    } else pending?.resolve(message.value);
  }

  /** None of them can be answered any more. */
  rejectAll(reason: () => Error): void {
    for (const { reject } of this.#pending.values()) reject(reason());
  }

  /** Undefined for the queue. */
  #serverFor(pending: Pending): string | undefined {
    const { lane, request } = pending;
    if (request.task.length > MAX_OFFERED_BYTES) return undefined;
    const others = [...this.#pending.values()].filter((other) => other.lane === lane && other !== pending);
    return chooseServer(
      lane.servers.hearing(),
      others.map((other) => other.server),
    );
  }

  async #enqueue(pending: Pending): Promise<void> {
    try {
      await enqueueRequest(this.#options.redis, pending.lane, pending.request);
    } catch (error) {
      this.#giveUp(pending, redisError(error));
    }
  }

  async #offer(pending: Pending, server: string): Promise<void> {
    const { redis, offerChannel } = this.#options;
    pending.server = server;
    pending.offeredAtMs = Date.now();
    pending.wasOffered = true;
    try {
      const isHeard = await offerRequest(redis, pending.lane, offerChannel(server), pending.request);
      if (pending.offeredAtMs === undefined) return;
      if (isHeard) pending.offeredAtMs = Date.now();
      else await this.#requeue(pending);
    } catch (error) {
      this.#giveUp(pending, redisError(error));
    }
  }

  /** True where its server has not taken it and never will: another may have it. */
  async #takeBack(pending: Pending): Promise<boolean> {
    const { lane, request } = pending;
    pending.offeredAtMs = undefined;
    try {
      if (!(await takeBackOffer(this.#options.redis, lane, request.id))) return false;
    } catch (error) {
      this.#giveUp(pending, redisError(error));
      return false;
    }
    pending.server = undefined;
    this.#forgetOffer(pending);
    return this.#pending.has(request.id);
  }

  /** From an offer that came to nothing to the queue, where any server takes it. */
  async #requeue(pending: Pending): Promise<void> {
    if (await this.#takeBack(pending)) await this.#enqueue(pending);
  }

  /** From a server that has left it unread, and so is not well, to another one. */
  async #redirect(pending: Pending): Promise<void> {
    const { lane, request, server } = pending;
    if (!(await this.#takeBack(pending))) return;
    if (server !== undefined) lane.servers.avoid(server);
    await lane.servers.read().catch(() => undefined);
    if (!this.#pending.has(request.id)) return;
    const other = this.#serverFor(pending);
    await (other === undefined ? this.#enqueue(pending) : this.#offer(pending, other));
  }

  #giveUp(pending: Pending, error: Error): void {
    if (!this.#pending.has(pending.request.id)) return;
    pending.reject(error);
    this.#withdraw(pending);
  }

  #forgetOffer(pending: Pending): void {
    if (!pending.wasOffered) return;
    pending.wasOffered = false;
    this.#options.redis.zrem(pending.lane.offeredKey, pending.request.id).catch(() => undefined);
  }

  /** Best effort: what can't be withdrawn expires. */
  #withdraw({ lane, server, request: { id } }: Pending): void {
    const { redis, cancelChannel } = this.#options;
    const ignore = () => undefined;
    redis.del(lane.taskKey(id), lane.offerKey(id)).catch(ignore);
    if (server) redis.publish(cancelChannel(server), id).catch(ignore);
    else lane.queue.remove(id).catch(ignore);
  }

  #startWatching(): void {
    this.#watch ??= setInterval(() => void this.#checkServers(), WATCH_INTERVAL_MS);
  }

  #stopWatching(): void {
    clearInterval(this.#watch);
    this.#watch = undefined;
  }

  /**
   * Takes back what no server has read, and ends what waits for a server that has vanished: maybe of it, so that it goes
   * to no other. While Redis is away nothing can be said.
   */
  async #checkServers(): Promise<void> {
    const unreadSinceMs = Date.now() - TAKE_BACK_AFTER_MS;
    for (const pending of this.#pending.values())
      if (pending.offeredAtMs !== undefined && pending.offeredAtMs <= unreadSinceMs)
        void this.#redirect(pending);
    const lanes = new Set([...this.#pending.values()].map(({ lane }) => lane));
    for (const lane of lanes) {
      const alive = await lane.servers.presence.list().catch(() => undefined);
      if (!alive) continue;
      for (const pending of this.#pending.values()) {
        const { server } = pending;
        if (pending.lane !== lane || pending.offeredAtMs !== undefined) continue;
        if (server === undefined ? alive.size > 0 : alive.has(server)) continue;
        this.#giveUp(pending, server === undefined ? laneErrors.noWorker() : laneErrors.workerGone());
      }
    }
  }
}
