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

/** Says what makes this server lose jobs that were acknowledged. A server that hides INFO is somebody else's to know. */
async function warnWhereItForgets(redis: Redis, logger: Logger): Promise<void> {
  const [persistence, memory] = await Promise.all(
    ['persistence', 'memory'].map((section) => redis.info(section).catch(() => '')),
  );
  if (/^aof_enabled:0/m.test(persistence ?? ''))
    logger.warn('Redis runs without appendonly: a crash of Redis loses jobs that were acknowledged');
  const policy = /^maxmemory_policy:(\S+)/m.exec(memory ?? '')?.[1];
  if (policy !== undefined && policy !== 'noeviction')
    logger.warn(
      { maxmemoryPolicy: policy },
      'Redis throws keys away when it is full, and acknowledged jobs with them: set maxmemory-policy noeviction',
    );
}
