import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Backend } from '@trivec/core/backend/backend';
import { openBackend } from '@trivec/core/backend/open';
import { type Config, loadConfig } from '@trivec/core/config';
import type { EmbedOptions, EncodedText } from '@trivec/core/engine/types';
import { TrivecError } from '@trivec/core/errors';
import { JobService } from '@trivec/core/jobs/jobService';
import { Reconciler } from '@trivec/core/jobs/reconciler';
import type { JobRecord } from '@trivec/core/jobs/records';
import { runShard } from '@trivec/core/jobs/shardRunner';
import { isEnded } from '@trivec/core/jobs/stateMachine';
import type { Consumer } from '@trivec/core/queue/workQueue';
import type { BlobStore } from '@trivec/core/storage/blobStore';
import { openStorage } from '@trivec/core/storage/open';
import { Redis } from 'ioredis';
import { describeBackends, silentLogger as logger, temporaryDataDir } from '../support/backends.ts';
import { FAKE_MODEL, FakeEngine } from '../support/fakeEngine.ts';
import { ANYONE, documents } from '../support/jobRig.ts';
import { findRedisServer, startRedis } from '../support/redis.ts';

const TIMEOUT_MS = 40_000;
const SHARD_DOCUMENTS = 5;

/** Takes its time for each call, and counts them. */
class SlowEngine extends FakeEngine {
  private readonly delayMs: number;
  calls = 0;

  constructor(delayMs: number) {
    super();
    this.delayMs = delayMs;
  }

  override async embed(texts: readonly EncodedText[], options: EmbedOptions) {
    this.calls++;
    await sleep(this.delayMs);
    return super.embed(texts, options);
  }
}

interface Rig {
  backend: Backend;
  storage: BlobStore;
  service: JobService;
  fingerprint: string;
}

async function rigOn(backend: Backend, config: Config, fingerprint: string): Promise<Rig> {
  const storage = await openStorage(config);
  const limits = { ...config, shardMaxDocuments: SHARD_DOCUMENTS };
  return {
    backend,
    storage,
    service: new JobService({ backend, storage, config: limits, logger }),
    fingerprint,
  };
}

function submit({ service, fingerprint }: Rig, shards: number): Promise<JobRecord> {
  return service.submit({
    source: { format: 'array', documents: documents(shards * SHARD_DOCUMENTS) },
    options: {},
    model: { ...FAKE_MODEL, fingerprint },
    owner: ANYONE.owner,
  });
}

function startWorker(
  { backend, storage, fingerprint }: Rig,
  engine: FakeEngine,
  concurrency: number,
): Promise<Consumer> {
  return backend.shardQueue(fingerprint).consume(
    async ({ data }, signal) => {
      await runShard({ ledger: backend.ledger, storage, engine, logger }, data, signal);
    },
    { concurrency },
  );
}

async function until<T>(look: () => Promise<T | undefined>, what: string): Promise<T> {
  const deadline = Date.now() + TIMEOUT_MS;
  while (Date.now() < deadline) {
    const found = await look().catch((error: unknown) => {
      if (!(error instanceof TrivecError && error.retryable)) throw error;
      return undefined;
    });
    if (found !== undefined) return found;
    await sleep(20);
  }
  throw new Error(`waited in vain for ${what}`);
}

function ended({ service }: Rig, id: string): Promise<JobRecord> {
  return until(async () => {
    const job = await service.get(id, ANYONE);
    return isEnded(job) ? job : undefined;
  }, 'the end of the job');
}

function assertWhole(job: JobRecord, shards: number): void {
  const count = shards * SHARD_DOCUMENTS;
  assert.equal(job.status, 'completed');
  assert.deepEqual(job.counts, { documents: count, embedded: count, written: 0, failed: 0 });
}

describeBackends('jobs beside each other', { LOCK_DURATION_MS: '1000' }, (backends) => {
  after(async () => {
    await rm(`${(await backends.config()).dataDir}/blobs`, { recursive: true, force: true });
  });

  test('a shard that takes four times the lock is never taken from its living holder', async () => {
    const rig = await rigOn(await backends.backend(), await backends.config(), 'slow');
    const engine = new SlowEngine(4_000);
    const workers = [await startWorker(rig, engine, 1), await startWorker(rig, engine, 1)];
    const job = await submit(rig, 1);
    assertWhole(await ended(rig, job.id), 1);
    assert.equal(engine.calls, 1);
    await Promise.all(workers.map((worker) => worker.close()));
  });

  test('a small job behind a huge one is done after as many shards of the huge one as it has itself', async () => {
    const rig = await rigOn(await backends.backend(), await backends.config(), 'fair');
    const huge = await submit(rig, 60);
    const engine = new SlowEngine(5);
    const worker = await startWorker(rig, engine, 1);
    await until(
      async () => ((await rig.service.get(huge.id, ANYONE)).shards.stored >= 5 ? true : undefined),
      'a start',
    );
    const before = (await rig.service.get(huge.id, ANYONE)).shards.stored;
    const small = await submit(rig, 5);
    assertWhole(await ended(rig, small.id), 5);
    const meanwhile = (await rig.service.get(huge.id, ANYONE)).shards.stored - before;
    // One for each of its own, what was running while it came, and what ran until we looked.
    assert.ok(meanwhile <= 5 + 10, `${meanwhile} shards of the huge job went before`);
    await rig.service.cancel(huge.id, ANYONE);
    await worker.close();
  });
});

const skip = findRedisServer() === undefined && 'no redis-server on this machine';

async function openPrivate(t: { after(close: () => Promise<void>): void }, redisArgs: string[] = []) {
  const { dataDir, remove } = await temporaryDataDir();
  t.after(remove);
  const redis = await startRedis(redisArgs);
  t.after(() => redis.stop());
  const config = loadConfig({ DATA_DIR: dataDir, BACKEND_URL: redis.url, LOCK_DURATION_MS: '1000' });
  const backend = await openBackend(config, logger);
  t.after(() => backend.close());
  return { redis, rig: await rigOn(backend, config, 'trouble') };
}

/** Fills a Redis to its limit and keeps it there, whatever others free. */
function keepFull(url: string) {
  const client = new Redis(url);
  client.on('error', () => undefined);
  let stopped = false;
  let refused = 0;
  const filling = (async () => {
    for (let i = 0, bytes = 256 * 1024; !stopped; i++) {
      try {
        await client.set(`ballast${i}`, 'x'.repeat(bytes));
      } catch {
        refused++;
        bytes = Math.max(64, bytes / 2);
        if (bytes === 64) await sleep(1);
      }
    }
  })();
  return {
    isFull: async () => refused > 40,
    empty: async () => {
      stopped = true;
      await filling;
      await client.del(...(await client.keys('ballast*')));
      client.disconnect();
    },
  };
}

test('full memory of Redis: 503 with a time to come back, no worker stops, and the job goes on when there is room', {
  skip,
}, async (t) => {
  const { redis, rig } = await openPrivate(t, ['--maxmemory', '16mb']);
  const worker = await startWorker(rig, new SlowEngine(30), 2);
  t.after(() => worker.close());
  const job = await submit(rig, 30);
  await until(
    async () => ((await rig.service.get(job.id, ANYONE)).shards.stored > 2 ? true : undefined),
    'a start',
  );
  const ballast = keepFull(redis.url);
  await until(async () => ((await ballast.isFull()) ? true : undefined), 'a full Redis');
  await assert.rejects(submit(rig, 1), (error: TrivecError) => {
    assert.deepEqual([error.code, error.status, error.retryAfterSeconds], ['backend_unavailable', 503, 10]);
    assert.match(error.message, /Redis is full/);
    return true;
  });
  await sleep(300);
  await ballast.empty();
  assertWhole(await ended(rig, job.id), 30);
  assertWhole(await ended(rig, (await submit(rig, 2)).id), 2);
});

test('Redis is killed and comes back in the middle of a job: nothing is lost or counted twice', {
  skip,
}, async (t) => {
  const { redis, rig } = await openPrivate(t);
  const worker = await startWorker(rig, new SlowEngine(20), 2);
  t.after(() => worker.close());
  const { backend, storage } = rig;
  const reconciler = new Reconciler({ backend, storage, config: { reconcileIntervalMs: 500 }, logger });
  reconciler.start();
  t.after(() => reconciler.close());
  const job = await submit(rig, 40);
  for (const stored of [5, 15]) {
    await until(
      async () => ((await rig.service.get(job.id, ANYONE)).shards.stored >= stored ? true : undefined),
      'shards',
    );
    await redis.kill9();
    await sleep(200);
    await redis.restart();
  }
  assertWhole(await ended(rig, job.id), 40);
  const { rows } = await rig.service.results(job.id, ANYONE, { format: 'ndjson' });
  assert.equal(rows, 40 * SHARD_DOCUMENTS);
});
