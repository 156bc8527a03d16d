import {
  type BackendFactory,
  createPostgresBackend,
  type Processor,
  Queue,
  type QueueOptions,
  type RedisQueueBackend,
  Worker,
  type WorkerOptions,
} from 'bullmq';
import type { Redis } from 'ioredis';
import type { EmbeddedPostgres } from '../backend/embeddedPostgres.ts';
import { duplicateRedis, redisError } from '../backend/redisClient.ts';
import { TrivecError } from '../errors.ts';
import type { Logger } from '../telemetry/logger.ts';

export type WorkerSettings = Omit<WorkerOptions, 'connection' | 'prefix'>;

export interface OpenedWorker<T> {
  worker: Worker<T, void>;
  /** False while its server is gone: then BullMQ's orderly close would wait for it for ever. */
  isConnected(): boolean;
  /** Frees what the worker got and BullMQ does not close. */
  release(): void;
}

/** What differs between BullMQ on Redis and BullMQ on Postgres, and all of it. */
export interface BullmqDriver {
  /** The name BullMQ gets for a queue of ours. */
  queueName(name: string): string;
  openQueue<T>(name: string): Queue<T>;
  openWorker<T>(name: string, processor: Processor<T, void>, settings: WorkerSettings): OpenedWorker<T>;
  /** Removes those of the ids that no worker holds. */
  removeUnlocked<T>(queue: Queue<T>, ids: readonly string[]): Promise<void>;
  /** Those of the ids that the queue holds. Finished items leave it at once, so these wait, are delayed or run. */
  present<T>(queue: Queue<T>, ids: readonly string[]): Promise<string[]>;
  toTrivecError(error: unknown): TrivecError;
}

/** Nothing reads BullMQ's event stream; it would otherwise keep ten thousand entries a queue. */
const STREAMS = { events: { maxLen: 10 } };

export function redisDriver(redis: Redis, keyPrefix: string, logger: Logger): BullmqDriver {
  return {
    // braces: the keys of a queue hash to one slot of a cluster
    queueName: (name) => `{${name}}`,
    openQueue: <T>(name: string) =>
      new Queue<T>(name, { connection: redis, prefix: keyPrefix, streams: STREAMS }) as Queue<T>,
    openWorker: <T>(name: string, processor: Processor<T, void>, settings: WorkerSettings) => {
      const connection = duplicateRedis(redis, logger, 'worker', { patient: true });
      const connections = [connection];
      // BullMQ makes its blocking connection from this one, and would never let go of it while Redis is gone
      const duplicate = connection.duplicate.bind(connection);
      connection.duplicate = (override) => {
        const copy = duplicate(override);
        connections.push(copy);
        return copy;
      };
      const worker = new Worker<T, void>(name, processor, { ...settings, connection, prefix: keyPrefix });
      return {
        worker,
        isConnected: () => connections.every(({ status }) => status === 'ready'),
        release: () => {
          for (const each of connections) each.disconnect();
        },
      };
    },
    removeUnlocked: async (queue, ids) => {
      await Promise.all(ids.map((id) => queue.remove(id, { removeChildren: false })));
    },
    present: async (queue, ids) => {
      const pipeline = redis.pipeline();
      for (const id of ids) pipeline.exists(queue.toKey(id));
      const replies = (await pipeline.exec()) ?? [];
      return ids.filter((_, index) => {
        const [error, exists] = replies[index] ?? [];
        if (error) throw error;
        return exists === 1;
      });
    },
    toTrivecError: redisError,
  };
}

/** BullMQ's Postgres backend takes a pool where its types, made for Redis, want a Redis connection. */
export function postgresDriver(database: EmbeddedPostgres): BullmqDriver {
  const connection = database as unknown as QueueOptions['connection'];
  const backend = createPostgresBackend as unknown as BackendFactory<RedisQueueBackend>;
  return {
    queueName: (name) => name,
    openQueue: <T>(name: string) => new Queue<T>(name, { connection, streams: STREAMS }, backend) as Queue<T>,
    openWorker: <T>(name: string, processor: Processor<T, void>, settings: WorkerSettings) => ({
      worker: new Worker<T, void>(name, processor, { ...settings, connection }, backend),
      isConnected: () => true,
      release: () => undefined,
    }),
    removeUnlocked: async (queue, ids) => {
      await database.query('SELECT bullmq.remove($1, id, false) FROM unnest($2::text[]) AS id', [
        queue.name,
        ids,
      ]);
    },
    present: async (queue, ids) => {
      const { rows } = await database.query<{ id: string }>(
        'SELECT id FROM bullmq.job WHERE queue = $1 AND id = ANY($2::text[])',
        [queue.name, ids],
      );
      return rows.map(({ id }) => id);
    },
    toTrivecError: postgresError,
  };
}

/** What the embedded database threw, as ours: all of it may heal (a full disk, a closing process). */
export function postgresError(error: unknown): TrivecError {
  if (error instanceof TrivecError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new TrivecError('backend_unavailable', `The embedded database: ${message}`, {
    retryAfterSeconds: 5,
    cause: error,
  });
}
