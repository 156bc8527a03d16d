import type { Redis } from 'ioredis';
import { redisError } from '../backend/redisClient.ts';
import type { Logger } from '../telemetry/logger.ts';
import { type Beating, Presence } from './presence.ts';
import type { WorkerAnnouncement, WorkerRegistry } from './workerRegistry.ts';

/** The registry that processes share through Redis. */
export class RedisRegistry implements WorkerRegistry {
  readonly #presence: Presence;
  readonly #announced = new Set<Beating>();

  constructor(redis: Redis, keyPrefix: string, logger: Logger) {
    this.#presence = new Presence(redis, keyPrefix, 'workers', logger);
  }

  async announce(read: () => WorkerAnnouncement): Promise<{ close(): Promise<void> }> {
    try {
      const beating = await this.#presence.enter(read().workerId, () => JSON.stringify(read()));
      this.#announced.add(beating);
      return beating;
    } catch (error) {
      throw redisError(error);
    }
  }

  async list(): Promise<WorkerAnnouncement[]> {
    try {
      const members = await this.#presence.list();
      return [...members.values()].map((json) => JSON.parse(json) as WorkerAnnouncement);
    } catch (error) {
      throw redisError(error);
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#announced].map((beating) => beating.close()));
  }
}
