import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Backend } from '@trivec/core/backend/backend';
import { openBackend } from '@trivec/core/backend/open';
import { connectRedis } from '@trivec/core/backend/redisClient';
import { loadConfig } from '@trivec/core/config';
import { TrivecError } from '@trivec/core/errors';
import type { JobRecord, ShardRecord } from '@trivec/core/jobs/records';
import { createLogger } from '@trivec/core/telemetry/logger';
import { Redis } from 'ioredis';
import { silentLogger } from '../../support/backends.ts';
import { until } from '../../support/gate.ts';
import { startHolder } from '../../support/holderProcess.ts';
import { findRedisServer, startRedis, type TestRedis } from '../../support/redis.ts';

const skip = findRedisServer() === undefined && 'no redis-server on this machine';
const withCode = (code: string) => (error: unknown) => error instanceof TrivecError && error.code === code;
const inFuture = (ms = 30_000) => Date.now() + ms;
const item = (jobId: string, ordinal: number) => ({
  id: `${jobId}.${ordinal}.embed`,
  data: { jobId, ordinal },
  fairOffset: ordinal,
});
const jobRecord: JobRecord = {
  id: 'j',
  version: 1,
  owner: 'anonymous',
  status: 'queued',
  model: { name: 'mini', fingerprint: 'f' },
  options: { outputs: ['dense'], normalize: true, truncate: true },
  counts: { documents: 1, embedded: 0, written: 0, failed: 0 },
  tokens: 0,
  truncated: 0,
  textBytes: { total: 1, done: 0 },
  shards: { total: 1, stored: 0, written: 0 },
  errors: [],
  createdAtMs: 1_800_000_000_000,
};
const shard: ShardRecord = { ordinal: 0, state: 'pending', documents: 1, textBytes: 1, inputKey: 'k' };

describe('the Redis backend', { skip }, () => {
  let redis: TestRedis;
  let backend: Backend;
  const environment = () => ({ BACKEND_URL: redis.url, LOCK_DURATION_MS: '1000' });

  before(async () => {
    redis = await startRedis();
    backend = await openBackend(loadConfig(environment()), silentLogger);
  });
  // Whatever failed: a worker or a server that is left would keep this process alive.
  after(async () => {
    try {
      await backend?.close();
    } finally {
      await redis?.stop();
    }
  });

  test('the work of a killed worker goes to another; its requests end', async () => {
    const queue = backend.shardQueue('held');
    await queue.add([item('a', 0), item('a', 1)]);
    const holder = await startHolder(environment());
    try {
      const answer = backend.interactive.request('held', {}, { deadlineAtMs: inFuture() });
      const ended = assert.rejects(answer, withCode('model_unavailable'));
      await until(() => holder.lines.filter((line) => line === 'taken').length === 3, 'all three are taken');
      await holder.kill9();
      let runs = 0;
      const server = await backend.interactive.serve('held', async () => void runs++, { concurrency: 1 });
      const seen: number[] = [];
      const consumer = await queue.consume(async ({ data }) => void seen.push(data.ordinal), {
        concurrency: 1,
      });
      await until(() => seen.length === 2, 'both come back');
      await consumer.close();
      assert.deepEqual(seen.sort(), [0, 1]);
      await ended;
      await server.close();
      assert.equal(runs, 0, 'a request that may have killed its worker goes to no other');
    } finally {
      await holder.kill9();
    }
  });

  test('two processes share queue, ledger, lane and registry', async () => {
    const other = await openBackend(loadConfig(environment()), silentLogger);
    try {
      await backend.ledger.putShards('shared', [shard]);
      assert.deepEqual(await other.ledger.readShards('shared', 0, 9), [shard]);
      const server = await other.interactive.serve<number, Float32Array>(
        'shared',
        async (size) => new Float32Array(size),
        { concurrency: 1 },
      );
      const reply = await backend.interactive.request<number, Float32Array>('shared', 100_000, {
        deadlineAtMs: inFuture(),
      });
      assert.equal(reply.length, 100_000);
      await server.close();
    } finally {
      await other.close();
    }
  });

  test('every key has the prefix and a hash tag, and what an interrupted write left is not listed', async () => {
    const config = loadConfig({ ...environment(), KEY_PREFIX: 'other-1' });
    const other = await openBackend(config, silentLogger);
    const admin = new Redis(redis.url);
    try {
      const job = { ...jobRecord, id: 'kept' };
      await other.ledger.putShards('kept', [shard]);
      await other.ledger.commitJob(job);
      await other.ledger.commitJob({ ...job, id: 'lost' });
      await other.shardQueue('f').add([item('kept', 0)]);
      await other.interactive.serve('f', async () => undefined, { concurrency: 1 });
      const keys = await admin.keys('other-1*');
      assert.ok(keys.length > 5);
      for (const key of keys) assert.match(key, /^other-1:\{[^{}]+\}:/);
      await admin.del('other-1:{job.lost}:record');
      const { jobs } = await other.ledger.listJobs({ limit: 10 });
      assert.deepEqual(jobs, [job]);
      assert.deepEqual(await other.ledger.listOpenJobs(), ['kept']);
    } finally {
      admin.disconnect();
      await other.close();
    }
  });

  test('a full Redis is reported, stops no worker, and work goes on when there is room', async () => {
    const admin = new Redis(redis.url);
    const queue = backend.shardQueue('full');
    const seen: number[] = [];
    const consumer = await queue.consume(async ({ data }) => void seen.push(data.ordinal), {
      concurrency: 1,
    });
    try {
      await admin.config('SET', 'maxmemory', '1');
      const full = (error: unknown) =>
        withCode('backend_unavailable')(error) && (error as TrivecError).retryAfterSeconds !== undefined;
      await assert.rejects(queue.add([item('b', 0)]), full);
      await assert.rejects(backend.ledger.putShards('b', [shard]), full);
    } finally {
      await admin.config('SET', 'maxmemory', '0');
      admin.disconnect();
    }
    await queue.add([item('b', 1)]);
    await until(() => seen.includes(1), 'the worker goes on');
    await consumer.close();
  });

  test('while Redis is away callers get an error; when it is back, all goes on with what was stored', async () => {
    const queue = backend.shardQueue('away');
    const seen: number[] = [];
    const consumer = await queue.consume(async ({ data }) => void seen.push(data.ordinal), {
      concurrency: 1,
    });
    await backend.ledger.putShards('away', [shard]);
    await redis.kill9();
    const away = withCode('backend_unavailable');
    try {
      await Promise.all([
        assert.rejects(backend.ping(), away),
        assert.rejects(queue.add([item('c', 0)]), away),
        assert.rejects(backend.ledger.readShards('away', 0, 1), away),
        assert.rejects(backend.registry.list(), away),
        assert.rejects(backend.interactive.request('away', {}, { deadlineAtMs: inFuture() }), away),
      ]);
    } finally {
      // Those after it need it, also where this one fails.
      await redis.restart();
    }
    await until(
      () =>
        backend.ping().then(
          () => true,
          () => false,
        ),
      'it answers again',
    );
    assert.deepEqual(await backend.ledger.readShards('away', 0, 9), [shard]);
    await queue.add([item('c', 1)]);
    await until(() => seen.includes(1), 'the worker goes on');
    await consumer.close();
  });

  test('a Redis that would forget or throw away jobs is told of at the start, a good one is not', async () => {
    const careless = await startRedis(['--appendonly', 'no', '--maxmemory-policy', 'allkeys-lru']);
    try {
      const warnings = async (url: string) => {
        const lines: string[] = [];
        const logger = createLogger({ logLevel: 'warn' }, { write: (line) => void lines.push(line) });
        const opened = await openBackend(loadConfig({ BACKEND_URL: url }), logger);
        await opened.close();
        return lines;
      };
      const [forgets, evicts, ...more] = await warnings(careless.url);
      assert.match(String(forgets), /without appendonly/);
      assert.match(String(evicts), /"maxmemoryPolicy":"allkeys-lru".*noeviction/);
      assert.deepEqual(more, []);
      assert.deepEqual(await warnings(redis.url), []);
    } finally {
      await careless.stop();
    }
  });

  test('a backend closes also when Redis is gone', async () => {
    const doomed = await startRedis();
    try {
      const orphan = await openBackend(loadConfig({ BACKEND_URL: doomed.url }), silentLogger);
      try {
        await orphan.shardQueue('f').consume(async () => undefined, { concurrency: 1 });
        await orphan.interactive.serve('f', async () => undefined, { concurrency: 1 });
        await doomed.stop();
      } finally {
        await orphan.close();
      }
    } finally {
      await doomed.stop();
    }
  });
});

test('a Redis that does not answer stops the start, without showing the password', async () => {
  const start = connectRedis('redis://user:hidden@127.0.0.1:1', silentLogger, 300);
  await assert.rejects(start, (error: TrivecError) => {
    assert.equal(error.code, 'backend_unavailable');
    assert.match(error.message, /redis:\/\/127\.0\.0\.1:1 does not answer/);
    assert.doesNotMatch(error.message, /hidden/);
    return true;
  });
});
