/** What the ledger does in Redis in one step, whole or not at all. */
import type { RedisScript } from '../backend/redisScript.ts';

/** A record's hash: `v` version, `j` the JSON, `o` 1 while open, `n` the nonce of the write that made it. */
export const COMMIT: RedisScript = {
  name: 'trivecCommitJob',
  keys: 3,
  lua: `
if ARGV[4] ~= '' then
  local holder = redis.call('GET', KEYS[3])
  if holder and holder ~= ARGV[4] then return holder end
  redis.call('SET', KEYS[3], ARGV[4])
end
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'v', ARGV[1], 'j', ARGV[2], 'o', ARGV[3])
end
redis.call('PERSIST', KEYS[2])
return ''`,
};

/** The idempotency key goes with its job: there is one exactly as long as there is the other. */
export const DELETE: RedisScript = {
  name: 'trivecDeleteJob',
  keys: 4,
  lua: `
redis.call('DEL', KEYS[1], KEYS[2], KEYS[4])
if redis.call('GET', KEYS[3]) == ARGV[1] then redis.call('DEL', KEYS[3]) end
return 1`,
};

/** The nonce makes it answer the same when the connection broke and the command was sent twice. */
export const COMPARE_AND_SWAP: RedisScript = {
  name: 'trivecCompareAndSwap',
  keys: 2,
  lua: `
local stored = redis.call('HMGET', KEYS[1], 'v', 'n')
if stored[2] == ARGV[5] then return 1 end
if stored[1] ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'v', ARGV[2], 'j', ARGV[3], 'o', ARGV[4], 'n', ARGV[5])
for i = 6, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
return 1`,
};

/** Removes an entry of the open index, unless a writer has touched it since it was read. */
export const FORGET_OPEN: RedisScript = {
  name: 'trivecForgetOpen',
  keys: 1,
  lua: `
if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('ZREM', KEYS[1], ARGV[1]) end
return 1`,
};
