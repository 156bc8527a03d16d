import type { Redis } from 'ioredis';
import { redisError } from '../backend/redisClient.ts';
import type { Logger } from '../telemetry/logger.ts';
import { type Beating, Presence } from './presence.ts';
import type { StartingWorker, WorkerAnnouncement, WorkerRegistry } from './workerRegistry.ts';

/** The registry that processes share through Redis. */
export class RedisRegistry implements WorkerRegistry {
  readonly #workers: Presence;
  readonly #starting: Presence;
  readonly #announced = new Set<Beating>();

  constructor(redis: Redis, keyPrefix: string, logger: Logger) {
    this.#workers = new Presence(redis, keyPrefix, 'workers', logger);
    this.#starting = new Presence(redis, keyPrefix, 'workers.starting', logger);
  }

  announce(read: () => WorkerAnnouncement): Promise<{ close(): Promise<void> }> {
    return this.#enter(this.#workers, read);
  }

  list(): Promise<WorkerAnnouncement[]> {
    return read(this.#workers);
  }

  announceStart(worker: StartingWorker): Promise<{ close(): Promise<void> }> {
    return this.#enter(this.#starting, () => worker);
  }

  listStarting(): Promise<StartingWorker[]> {
    return read(this.#starting);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#announced].map((beating) => beating.close()));
  }

  async #enter(presence: Presence, read: () => { workerId: string }): Promise<Beating> {
    try {
      const beating = await presence.enter(read().workerId, () => JSON.stringify(read()));
      this.#announced.add(beating);
      return beating;
    } catch (error) {
      throw redisError(error);
    }
  }
}

async function read<Member>(presence: Presence): Promise<Member[]> {
  try {
    const members = await presence.list();
    return [...members.values()].map((json) => JSON.parse(json) as Member);
  } catch (error) {
    throw redisError(error);
  }
}
