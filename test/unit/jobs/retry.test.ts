import assert from 'node:assert/strict';
import test from 'node:test';
import { TrivecError } from '@trivec/core/errors';
import type { RetryEvent } from '@trivec/core/jobs/jobEvents';
import { Ledger } from '@trivec/core/jobs/ledger';
import { Reconciler } from '@trivec/core/jobs/reconciler';
import type { JobRecord } from '@trivec/core/jobs/records';
import { isRetrying, planRetry } from '@trivec/core/jobs/retry';
import { NO_SINK_COUNTS } from '@trivec/core/jobs/sinkPlan';
import { applyToJob, isEnded } from '@trivec/core/jobs/stateMachine';
import { DEAD_UPLOAD_AFTER_MS, sweepStorage } from '@trivec/core/jobs/sweep';
import fc from 'fast-check';
import { POISON } from '../../support/fakeEngine.ts';
import { ANYONE, jobRig } from '../../support/jobRig.ts';

type Rig = ReturnType<typeof jobRig>;

/** From now on the model can run the texts that it could not. */
function heal(rig: Rig, healed: (text: string) => boolean = () => true): void {
  const encode = rig.engine.encode.bind(rig.engine);
  rig.engine.encode = (texts, options) =>
    encode(
      texts.map((text) => (healed(text) ? text.replaceAll(POISON, 'remedy') : text)),
      options,
    );
}

function texts(count: number, isBad: (i: number) => boolean) {
  return Array.from({ length: count }, (_, i) => ({
    id: `d${i}`,
    text: isBad(i) ? `${POISON} n${i}` : `n${i}`,
  }));
}

async function errorIds(rig: Rig, job: JobRecord): Promise<string[]> {
  return (await Array.fromAsync(await rig.service.errors(job.id, ANYONE))).map(({ id }) => id);
}

/** What must be true of a job at any moment, whatever has been retried. */
async function checkSums(rig: Rig, jobId: string): Promise<void> {
  const job = await rig.job(jobId);
  const sums = { embedded: 0, failed: 0, stored: 0, total: 0 };
  for await (const shard of new Ledger(rig.ledger).shards(jobId)) {
    sums.total++;
    sums.embedded += shard.counts?.embedded ?? 0;
    sums.failed += shard.counts?.failed ?? (shard.isRetry === true ? shard.documents : 0);
    if (shard.state !== 'pending') sums.stored++;
  }
  assert.deepEqual(
    {
      embedded: job.counts.embedded,
      failed: job.counts.failed,
      stored: job.shards.stored,
      total: job.shards.total,
    },
    sums,
  );
  assert.equal((await errorIds(rig, job)).length, job.counts.failed);
  if (isEnded(job) && job.status !== 'cancelled')
    assert.equal(job.counts.embedded + job.counts.failed, job.counts.documents);
}

test('a retry embeds the failed documents only; each is listed as failed until it succeeds', async () => {
  const rig = jobRig();
  const job = await rig.submit(texts(11, (i) => i % 3 === 0));
  await rig.drain();
  assert.deepEqual((await rig.job(job.id)).counts, { documents: 11, embedded: 7, written: 0, failed: 4 });
  const calls = rig.engine.embedCalls.length;

  heal(rig, (text) => !text.includes('n6'));
  const again = await rig.service.retry(job.id, ANYONE);
  assert.equal(again.status, 'running');
  assert.deepEqual(again.counts, { documents: 11, embedded: 7, written: 0, failed: 4 });
  assert.deepEqual(await errorIds(rig, job), ['d0', 'd3', 'd6', 'd9']);
  await checkSums(rig, job.id);

  await rig.drain();
  const done = await rig.job(job.id);
  assert.equal(rig.engine.embedCalls.length, calls + 1);
  assert.equal(done.status, 'completed');
  assert.deepEqual(done.counts, { documents: 11, embedded: 10, written: 0, failed: 1 });
  assert.deepEqual(
    done.errors.map(({ id }) => id),
    ['d6'],
  );
  assert.deepEqual(await errorIds(rig, job), ['d6']);
  assert.deepEqual(
    (await rig.lines(job.id)).rows.map(({ id }) => id),
    ['d1', 'd2', 'd4', 'd5', 'd7', 'd8', 'd10', 'd0', 'd3', 'd9'],
  );
  await checkSums(rig, job.id);
  await rig.service.delete(job.id, ANYONE);
  rig.assertEmpty();
});

test('what can not be retried: nothing failed, a running job, a cancelled one, what the storage lost', async () => {
  const rig = jobRig();
  const sound = await rig.submit(texts(3, () => false));
  await assert.rejects(rig.service.retry(sound.id, ANYONE), { code: 'job_conflict', message: /is queued/ });
  await rig.drain();
  await assert.rejects(rig.service.retry(sound.id, ANYONE), {
    code: 'job_conflict',
    message: /no failed documents/,
  });
  const cancelled = await rig.submit(texts(3, () => true));
  await rig.service.cancel(cancelled.id, ANYONE);
  await assert.rejects(rig.service.retry(cancelled.id, ANYONE), {
    code: 'job_conflict',
    message: /cancelled/,
  });
  const lost = await rig.submit(texts(3, () => true));
  await rig.drain();
  await rig.storage.deletePrefix(`input/${lost.id}/`);
  await assert.rejects(rig.service.retry(lost.id, ANYONE), {
    code: 'job_conflict',
    message: /no failed documents/,
  });
});

test('two retries at once are one, and so is a repeated call; a crash in between leaves only what the sweep takes', async () => {
  const rig = jobRig();
  const job = await rig.submit(texts(8, (i) => i < 5));
  await rig.drain();
  const results = await Promise.all([rig.service.retry(job.id, ANYONE), rig.service.retry(job.id, ANYONE)]);
  results.push(await rig.service.retry(job.id, ANYONE));
  for (const { status, shards } of results) assert.deepEqual([status, shards.total], ['running', 4]);
  await rig.storage.put(`input/${job.id}/retry.dead.0.ndjson`, Buffer.from('x'));
  await checkSums(rig, job.id);
  heal(rig);
  await rig.drain();
  const ledger = new Ledger(rig.ledger);
  const deps = { ledger, storage: rig.storage, logger: rig.logger };
  const isOrphan = (key: string) => key.includes('retry.dead');
  await sweepStorage(deps, Date.now());
  assert.ok([...rig.storage.blobs.keys()].some(isOrphan), 'a retry may still be under way');
  await sweepStorage(deps, Date.now() + 2 * DEAD_UPLOAD_AFTER_MS);
  assert.ok(![...rig.storage.blobs.keys()].some(isOrphan));
  await checkSums(rig, job.id);
  assert.deepEqual((await rig.job(job.id)).counts, { documents: 8, embedded: 8, written: 0, failed: 0 });
  assert.equal((await rig.lines(job.id)).rows.length, 8);
});

test('a retry runs until its shards are written, too; what else is written is none', async () => {
  const rig = jobRig();
  const { id } = await rig.submit(texts(3, (i) => i === 0));
  await rig.drain();
  heal(rig);
  await rig.service.retry(id, ANYONE);
  await rig.drain();
  const ended = await rig.job(id);
  const sink = {
    run: 1,
    collection: 'docs',
    indexing: 'asIs',
    finished: true,
    counts: NO_SINK_COUNTS,
  } as const;
  const writing: JobRecord = { ...ended, status: 'running', sink };
  const ledger = new Ledger(rig.ledger);
  assert.equal(await isRetrying(ledger, writing), true);
  assert.equal(await isRetrying(ledger, { ...writing, status: 'completed' }), false);
  assert.equal(
    await isRetrying(ledger, { ...writing, sink: { ...sink, finished: false } }),
    false,
    'ingested',
  );
});

test('whatever interleaves with retries, the sums are exact and each document has one outcome', async () => {
  const step = fc.record({
    event: fc.constantFrom('run', 'run', 'run', 'runTwice', 'retry', 'retry', 'pause', 'resume'),
    shard: fc.nat(7),
    heals: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.boolean(), { minLength: 6, maxLength: 10 }),
      fc.array(step, { maxLength: 30 }),
      async (bad, steps) => {
        const rig = jobRig({ shardMaxDocuments: 3 });
        const healed = new Set<string>();
        heal(rig, (text) => healed.has(text));
        const documents = texts(bad.length, (i) => bad[i]!);
        const { id } = await rig.submit(documents);
        for (const { event, shard, heals } of steps) {
          const pointer = { jobId: id, ordinal: shard };
          if (heals) healed.add(documents[shard % documents.length]!.text);
          if (event === 'run') await rig.run(pointer);
          else if (event === 'runTwice') await Promise.all([rig.run(pointer), rig.run(pointer)]);
          else await rig.service[event](id, ANYONE).catch(conflict);
          await checkSums(rig, id);
        }
        await rig.service.resume(id, ANYONE).catch(conflict);
        for (let ordinal = 0; !isEnded(await rig.job(id)); ordinal++) await rig.run({ jobId: id, ordinal });
        await checkSums(rig, id);
        const rows = (await rig.lines(id)).rows.map((row) => row.id);
        const outcomes = [...rows, ...(await errorIds(rig, await rig.job(id)))].sort();
        assert.deepEqual(outcomes, documents.map((document) => document.id).sort());
      },
    ),
    { numRuns: 60 },
  );
});

function conflict(error: unknown): void {
  if (!(error instanceof TrivecError && error.code === 'job_conflict')) throw error;
}

test('a retry is of the job as it was read', async () => {
  const rig = jobRig();
  const { id } = await rig.submit(texts(2, () => false));
  const event: RetryEvent = { type: 'retry', added: [], changed: [], errors: [] };
  assert.deepEqual(applyToJob(await rig.job(id), event, 1), { ok: false, reason: 'not_ended' });
});

test('a full storage pauses the job with a reason; the reconciler resumes it when there is room', async () => {
  const rig = jobRig();
  const { id } = await rig.submit(texts(10, () => false));
  const full = () => new TrivecError('storage_full', 'full');
  rig.storage.failPut = full;
  await rig.drain();
  const paused = await rig.job(id);
  assert.deepEqual([paused.status, paused.pausedReason], ['paused', 'storage_full']);
  const reconciler = new Reconciler({ ...rig.deps, config: { reconcileIntervalMs: 60_000 } });
  await reconciler.reconcile();
  assert.equal((await rig.job(id)).status, 'paused');
  assert.equal(rig.queue.items.size, 0);

  rig.storage.failPut = undefined;
  await reconciler.reconcile();
  await rig.drain();
  const done = await rig.job(id);
  assert.equal(done.status, 'completed');
  assert.equal(done.pausedReason, undefined);
  assert.equal(done.counts.embedded, 10);
  assert.ok(![...rig.storage.blobs.keys()].some((key) => key.startsWith('probe/')));
});

test('what a client has paused stays paused, whoever paused it before', async () => {
  const rig = jobRig();
  const { id } = await rig.submit(texts(3, () => false));
  rig.storage.failPut = () => new TrivecError('storage_full', 'full');
  await rig.drain();
  const byClient = await rig.service.pause(id, ANYONE);
  assert.deepEqual([byClient.status, byClient.pausedReason], ['paused', undefined]);
  rig.storage.failPut = undefined;
  const reconciler = new Reconciler({ ...rig.deps, config: { reconcileIntervalMs: 60_000 } });
  await reconciler.reconcile();
  assert.equal((await rig.job(id)).status, 'paused');
});

test('a retry that would be too large for one write takes what fits; the rest stays listed for the next', async () => {
  const rig = jobRig({ shardMaxDocuments: 1 });
  const job = await rig.submit(texts(10, () => true));
  await rig.drain();
  const deps = {
    ledger: new Ledger(rig.ledger),
    storage: rig.storage,
    limits: { maxDocuments: 1, maxTextBytes: 1000 },
    maxRecords: 6,
  };
  const failed = await rig.job(job.id);
  const { event } = await planRetry(deps, failed);
  assert.ok(event !== undefined && event.added.length > 1 && event.added.length < 10);
  assert.ok(event.added.length + event.changed.length <= 8);
  const transition = applyToJob(failed, event, Date.now());
  assert.ok(transition.ok);
  assert.ok(await rig.ledger.compareAndSwap(transition.job, transition.shards));
  await checkSums(rig, job.id);
  heal(rig);
  await new Reconciler(rig.deps).reconcile();
  await rig.drain();
  await checkSums(rig, job.id);
  await rig.service.retry(job.id, ANYONE);
  await rig.drain();
  assert.deepEqual((await rig.job(job.id)).counts, { documents: 10, embedded: 10, written: 0, failed: 0 });
});
