import assert from 'node:assert/strict';
import test from 'node:test';
import { RateLimits } from '@trivec/api/rateLimits';
import { createLogger } from '@trivec/core/telemetry/logger';
import { createMetrics } from '@trivec/core/telemetry/metrics';
import { Redis } from 'ioredis';
import { findRedisServer, startRedis } from '../support/redis.ts';

test('API processes on one Redis count together, and each alone while it is away', {
  skip: findRedisServer() === undefined ? 'no redis-server on this machine' : false,
}, async (t) => {
  const server = await startRedis();
  const clients: Redis[] = [];
  t.after(async () => {
    for (const client of clients) client.disconnect();
    await server.stop();
  });
  const [one, two] = [1, 2].map(() => {
    const redis = new Redis(server.url, {
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      lazyConnect: true,
    });
    redis.on('error', () => {});
    clients.push(redis);
    return new RateLimits({
      config: { rateLimitRequests: 3, rateLimitTokens: 100, keyPrefix: 'trivec' },
      metrics: createMetrics(),
      logger: createLogger({ logLevel: 'silent' }),
      redis,
    });
  });
  assert.ok(one && two);
  for (const client of clients) await client.connect();
  assert.equal((await one.admit('key:a'))?.remaining, 2);
  assert.equal((await two.admit('key:a'))?.remaining, 1);
  one.charge('key:b', 100);
  assert.equal((await two.admit('key:a'))?.remaining, 0);
  await assert.rejects(one.admit('key:a'), { code: 'rate_limited', message: /3 requests in a minute/ });
  await assert.rejects(two.admit('key:b'), { code: 'rate_limited', message: /100 tokens in a minute/ });
  await server.kill9();
  assert.ok((await one.admit('key:c'))?.limit === 3);
});
