import type { Redis } from 'ioredis';
import { type RedisScript, runScript } from '../backend/redisScript.ts';
import type { Logger } from '../telemetry/logger.ts';

const HEARTBEAT_MS = 2_000;
const EXPIRY_MS = 7_000;

/** Redis's own clock: those of the machines may differ. */
const NOW = `local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)`;

const BEAT: RedisScript = {
  name: 'trivecPresenceBeat',
  keys: 2,
  lua: `${NOW}
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3] * 2)
redis.call('PEXPIRE', KEYS[2], ARGV[3] * 2)
return 1`,
};

const LIST: RedisScript = {
  name: 'trivecPresenceList',
  keys: 2,
  lua: `${NOW}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
end
return redis.call('HGETALL', KEYS[2])`,
};

export interface Beating {
  /** Says so again now, with what `read` returns now. */
  beat(): Promise<void>;
  /** Leaves at once. Idempotent. */
  close(): Promise<void>;
}

/** Who is here, by heartbeat, under one name in Redis. Members vanish seven seconds after their last. */
export class Presence {
  readonly #redis: Redis;
  readonly #keys: [expiries: string, values: string];
  readonly #logger: Logger;

  constructor(redis: Redis, keyPrefix: string, name: string, logger: Logger) {
    this.#redis = redis;
    this.#keys = [`${keyPrefix}:{${name}}:expiries`, `${keyPrefix}:{${name}}:values`];
    this.#logger = logger;
  }

  /** The first heartbeat has been stored when it resolves. */
  async enter(id: string, read: () => string): Promise<Beating> {
    const beat = async () => {
      await runScript(this.#redis, BEAT, ...this.#keys, id, read(), EXPIRY_MS);
    };
    await beat();
    const timer = setInterval(() => {
      beat().catch((error: Error) => this.#logger.warn({ reason: error.message }, 'heartbeat not stored'));
    }, HEARTBEAT_MS);
    let closing: Promise<void> | undefined;
    return {
      beat,
      close: () => {
        clearInterval(timer);
        closing ??= this.#leave(id);
        return closing;
      },
    };
  }

  /** The members present, with what they last said. */
  async list(): Promise<Map<string, string>> {
    const flat = await runScript<string[]>(this.#redis, LIST, ...this.#keys);
    const members = new Map<string, string>();
    for (let index = 0; index < flat.length; index += 2) members.set(flat[index]!, flat[index + 1]!);
    return members;
  }

  /** Where Redis is away, the expiry does it. */
  async #leave(id: string): Promise<void> {
    const [expiries, values] = this.#keys;
    await this.#redis
      .multi()
      .zrem(expiries, id)
      .hdel(values, id)
      .exec()
      .catch(() => undefined);
  }
}
