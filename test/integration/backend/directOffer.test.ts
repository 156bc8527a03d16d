import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Backend } from '@trivec/core/backend/backend';
import { openBackend } from '@trivec/core/backend/open';
import { loadConfig } from '@trivec/core/config';
import { Presence } from '@trivec/core/registry/presence';
import { Redis } from 'ioredis';
import { silentLogger } from '../../support/backends.ts';
import { until } from '../../support/gate.ts';
import { findRedisServer, startRedis, type TestRedis } from '../../support/redis.ts';

const skip = findRedisServer() === undefined && 'no redis-server on this machine';
const inFuture = (ms = 30_000) => Date.now() + ms;

describe('requests that go straight to a server', { skip }, () => {
  let redis: TestRedis;
  let backend: Backend;
  let raw: Redis;

  before(async () => {
    redis = await startRedis();
    backend = await openBackend(loadConfig({ BACKEND_URL: redis.url, KEY_PREFIX: 'p' }), silentLogger);
    raw = new Redis(redis.url);
  });
  after(async () => {
    raw.disconnect();
    await backend.close();
    await redis.stop();
  });

  /** Says that it is there, and answers nobody. */
  const enterGhost = (fingerprint: string) =>
    new Presence(raw, 'p', `interactive.${fingerprint}.servers`, silentLogger).enter('ghost', () => 'open');

  test('one request leaves no trace in the queue, and counts while it runs', async () => {
    const release = Promise.withResolvers<void>();
    const server = await backend.interactive.serve(
      'plain',
      async () => {
        await release.promise;
        return 'done';
      },
      { concurrency: 2 },
    );
    const answer = backend.interactive.request('plain', {}, { deadlineAtMs: inFuture() });
    await until(async () => (await backend.interactive.depth('plain')) === 1, 'it counts');
    const jobs = await raw.llen('p:{interactive.plain}:active');
    release.resolve();
    assert.equal(await answer, 'done');
    assert.equal(jobs, 0, 'no job of the queue was made');
    await until(async () => (await backend.interactive.depth('plain')) === 0, 'it counts no more');
    await server.close();
  });

  test('an offer that nobody hears goes to the queue, and another server takes it', async () => {
    const ghost = await enterGhost('deaf');
    const answer = backend.interactive.request('deaf', {}, { deadlineAtMs: inFuture() });
    await until(async () => (await raw.llen('p:{interactive.deaf}:wait')) === 1, 'it waits in the queue');
    const server = await backend.interactive.serve('deaf', async () => 'here', { concurrency: 1 });
    assert.equal(await answer, 'here');
    await server.close();
    await ghost.close();
  });

  test('an offer that was heard and never confirmed goes to the queue', async () => {
    const ghost = await enterGhost('mute');
    const ears = new Redis(redis.url);
    await ears.subscribe('p:offer:ghost');
    try {
      const answer = backend.interactive.request('mute', {}, { deadlineAtMs: inFuture() });
      const server = await backend.interactive.serve('mute', async () => 'here', { concurrency: 1 });
      assert.equal(await answer, 'here');
      await until(async () => (await backend.interactive.depth('mute')) === 0, 'nothing is left');
      await server.close();
    } finally {
      ears.disconnect();
      await ghost.close();
    }
  });
});
