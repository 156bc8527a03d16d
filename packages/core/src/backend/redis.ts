import type { Redis } from 'ioredis';
import type { Config } from '../config.ts';
import { RedisLedger } from '../ledger/redis.ts';
import { redisDriver } from '../queue/bullmqDriver.ts';
import { RedisRegistry } from '../registry/redis.ts';
import { RedisLane } from '../replies/redis.ts';
import { Resources } from '../shutdown.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Backend } from './backend.ts';
import { closeRedis, connectRedis, redisError } from './redisClient.ts';
import { shardQueues } from './shardQueues.ts';

/** The backend that many processes share. Throws `backend_unavailable` where Redis does not answer. */
export async function openRedisBackend(config: Config, logger: Logger): Promise<Backend> {
  const { keyPrefix, lockDurationMs } = config;
  const redis = await connectRedis(config.backendUrl, logger);
  await warnWhereItForgets(redis, logger);
  const resources = new Resources();
  resources.add({ close: () => closeRedis(redis) });
  const registry = resources.add(new RedisRegistry(redis, keyPrefix, logger));
  const interactive = resources.add(new RedisLane({ redis, keyPrefix, lockDurationMs, logger }));
  const queues = resources.add(shardQueues(redisDriver(redis, keyPrefix, logger), lockDurationMs, logger));
  return {
    kind: 'redis',
    redis,
    ledger: new RedisLedger(redis, keyPrefix),
    registry,
    interactive,
    shardQueue: queues.of,
    sinkQueue: queues.sink,
    claim: async (what, forMs) => {
      try {
        return (await redis.set(`${keyPrefix}:{claims}:${what}`, '1', 'PX', Math.ceil(forMs), 'NX')) === 'OK';
      } catch (error) {
        throw redisError(error);
      }
    },
    ping: async () => {
      try {
        await redis.ping();
      } catch (error) {
        throw redisError(error);
      }
    },
    close: () => resources.close(),
  };
}

/** Without its append-only file Redis loses acknowledged jobs when it dies. */
async function warnWhereItForgets(redis: Redis, logger: Logger): Promise<void> {
  // a server that hides INFO is somebody else's to know
  const info = await redis.info('persistence').catch(() => '');
  if (info.includes('aof_enabled:0')) {
    logger.warn('Redis runs without appendonly: a crash of Redis loses jobs that were acknowledged');
  }
}
