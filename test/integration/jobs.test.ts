import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Backend } from '@trivec/core/backend/backend';
import { JobService } from '@trivec/core/jobs/jobService';
import { Reconciler } from '@trivec/core/jobs/reconciler';
import type { JobRecord } from '@trivec/core/jobs/records';
import { runShard } from '@trivec/core/jobs/shardRunner';
import { isEnded } from '@trivec/core/jobs/stateMachine';
import type { Consumer } from '@trivec/core/queue/workQueue';
import type { BlobStore } from '@trivec/core/storage/blobStore';
import { openStorage } from '@trivec/core/storage/open';
import { describeBackends, silentLogger as logger, type TestBackends } from '../support/backends.ts';
import { FAKE_MODEL, FakeEngine } from '../support/fakeEngine.ts';
import { ANYONE, documents } from '../support/jobRig.ts';

const TIMEOUT_MS = 20_000;

interface Rig {
  backend: Backend;
  storage: BlobStore;
  service: JobService;
  fingerprint: string;
}

let rigs = 0;

/** The suite's backend and storage, with a fingerprint (and so a queue) of the test's own. */
async function openRig({ backend: open, config: read }: TestBackends): Promise<Rig> {
  const [backend, config] = [await open(), await read()];
  const storage = await openStorage(config);
  const limits = { ...config, shardMaxDocuments: 5 };
  const service = new JobService({ backend, storage, config: limits, logger });
  return { backend, storage, service, fingerprint: `jobs-${rigs++}` };
}

function submit({ service, fingerprint }: Rig, count: number): Promise<JobRecord> {
  return service.submit({
    source: { format: 'array', documents: documents(count) },
    options: {},
    model: { ...FAKE_MODEL, fingerprint },
    owner: ANYONE.owner,
  });
}

function startWorker({ backend, storage, fingerprint }: Rig, engine = new FakeEngine()): Promise<Consumer> {
  return backend.shardQueue(fingerprint).consume(
    async ({ data }, signal) => {
      await runShard({ ledger: backend.ledger, storage, engine, logger }, data, signal);
    },
    { concurrency: 2 },
  );
}

async function ended({ service }: Rig, id: string): Promise<JobRecord> {
  const deadline = Date.now() + TIMEOUT_MS;
  while (Date.now() < deadline) {
    const job = await service.get(id, ANYONE);
    if (isEnded(job)) return job;
    await sleep(20);
  }
  throw new Error('the job did not end in time');
}

async function resultIds({ service }: Rig, id: string): Promise<string[]> {
  const { body } = await service.results(id, ANYONE, { format: 'ndjson' });
  const text = Buffer.concat(await Array.fromAsync(body)).toString();
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line).id);
}

async function keys(storage: BlobStore, jobId: string): Promise<string[]> {
  const found: string[] = [];
  for (const prefix of [`input/${jobId}/`, `results/${jobId}/`])
    for await (const { key } of storage.list(prefix)) found.push(key);
  return found;
}

describeBackends('jobs', { LOCK_DURATION_MS: '1000' }, (backends) => {
  after(async () => {
    const { dataDir } = await backends.config();
    await rm(`${dataDir}/blobs`, { recursive: true, force: true });
  });

  test('a corpus goes in and comes out once, in order, with exact counts', async () => {
    const rig = await openRig(backends);
    const workers = [await startWorker(rig), await startWorker(rig)];
    const job = await submit(rig, 103);
    const done = await ended(rig, job.id);
    assert.equal(done.status, 'completed');
    assert.deepEqual(done.counts, { documents: 103, embedded: 103, written: 0, failed: 0 });
    assert.deepEqual(
      await resultIds(rig, job.id),
      documents(103).map(({ id }) => id),
    );
    assert.equal((await keys(rig.storage, job.id)).length, 2 * done.shards.total);
    await rig.service.delete(job.id, ANYONE);
    assert.deepEqual(await keys(rig.storage, job.id), []);
    await Promise.all(workers.map((worker) => worker.close()));
    assert.deepEqual(await rig.backend.shardQueue(rig.fingerprint).counts(), {
      waiting: 0,
      active: 0,
      delayed: 0,
    });
  });

  test('a job that was committed but never enqueued is found and finished', async () => {
    const rig = await openRig(backends);
    const job = await submit(rig, 40);
    const queue = rig.backend.shardQueue(rig.fingerprint);
    await queue.remove(Array.from({ length: job.shards.total }, (_, i) => `${job.id}.${i}.embed`));
    assert.equal((await queue.counts()).waiting, 0);
    const worker = await startWorker(rig);
    const { backend, storage } = rig;
    const reconciler = new Reconciler({ backend, storage, config: { reconcileIntervalMs: 200 }, logger });
    reconciler.start();
    const done = await ended(rig, job.id);
    await reconciler.close();
    await worker.close();
    assert.deepEqual(done.counts, { documents: 40, embedded: 40, written: 0, failed: 0 });
  });

  test('holders that race for the same shards: each shard counts once, losers leave nothing', async () => {
    const rig = await openRig(backends);
    const engine = new FakeEngine();
    const embed = engine.embed.bind(engine);
    let calls = 0;
    engine.embed = async (texts, options) => {
      if (calls++ % 3 === 0) await runTwice(rig, job);
      return embed(texts, options);
    };
    const job = await submit(rig, 30);
    const worker = await startWorker(rig, engine);
    const done = await ended(rig, job.id);
    await worker.close();
    assert.deepEqual(done.counts, { documents: 30, embedded: 30, written: 0, failed: 0 });
    assert.equal((await resultIds(rig, job.id)).length, 30);
    assert.equal((await keys(rig.storage, job.id)).length, 2 * job.shards.total, 'losers left blobs');
  });

  test('cancel ends the job at once and empties the queue', async () => {
    const rig = await openRig(backends);
    const job = await submit(rig, 200);
    const cancelled = await rig.service.cancel(job.id, ANYONE);
    assert.equal(cancelled.status, 'cancelled');
    assert.equal((await rig.backend.shardQueue(rig.fingerprint).counts()).waiting, 0);
    const worker = await startWorker(rig);
    assert.deepEqual((await rig.service.get(job.id, ANYONE)).counts.embedded, 0);
    await worker.close();
    await assert.rejects(rig.service.resume(job.id, ANYONE), { code: 'job_conflict' });
  });

  test('a refused upload leaves no blob, no record, nothing queued', async () => {
    const rig = await openRig(backends);
    const before = (await rig.service.list({ owner: 'x', admin: true }, { limit: 100 })).jobs.length;
    const deleted: string[] = [];
    const { backend } = rig;
    const ledger = new Proxy(backend.ledger, {
      get(target, name) {
        const member = Reflect.get(target, name) as unknown;
        if (typeof member !== 'function') return member;
        return (...args: unknown[]) => {
          if (name === 'deleteJob') deleted.push(String(args[0]));
          return (member as (...all: unknown[]) => unknown).apply(target, args);
        };
      },
    });
    const service = new JobService({
      backend: { ...backend, ledger, shardQueue: backend.shardQueue.bind(backend) } as Backend,
      storage: rig.storage,
      config: { ...(await backends.config()), shardMaxDocuments: 1 },
      logger,
    });
    const twice = [...documents(300), { id: 'd7', text: 'again' }];
    await assert.rejects(
      service.submit({
        source: { format: 'array', documents: twice },
        options: {},
        model: { ...FAKE_MODEL, fingerprint: rig.fingerprint },
        owner: 'x',
      }),
      { code: 'duplicate_id', param: 'documents[300].id' },
    );
    const [id] = deleted;
    assert.ok(id);
    assert.deepEqual(await keys(rig.storage, id), []);
    assert.deepEqual(await backend.ledger.readShards(id, 0, 10), []);
    assert.equal((await rig.service.list({ owner: 'x', admin: true }, { limit: 100 })).jobs.length, before);
    assert.equal((await backend.shardQueue(rig.fingerprint).counts()).waiting, 0);
  });
});

/** Somebody else, who also believes to hold them, runs the first shards at the same time. */
async function runTwice({ backend, storage }: Rig, job: JobRecord): Promise<void> {
  for (const ordinal of [0, 1, 2]) {
    const deps = { ledger: backend.ledger, storage, engine: new FakeEngine(), logger };
    await runShard(deps, { jobId: job.id, ordinal }, new AbortController().signal);
  }
}
