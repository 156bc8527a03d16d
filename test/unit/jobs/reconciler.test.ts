import assert from 'node:assert/strict';
import test from 'node:test';
import { Ledger } from '@trivec/core/jobs/ledger';
import { Reconciler } from '@trivec/core/jobs/reconciler';
import { expireJobs } from '@trivec/core/jobs/retention';
import { DEAD_UPLOAD_AFTER_MS, sweepStorage } from '@trivec/core/jobs/sweep';
import { documents, jobRig } from '../../support/jobRig.ts';

test('the reconciler enqueues committed shards that no queue knows, and only those', async () => {
  const rig = jobRig();
  const job = await rig.submit(documents(12));
  await rig.run({ jobId: job.id, ordinal: 0 });
  await rig.queue.remove([`${job.id}.0.embed`, `${job.id}.2.embed`]);
  const reconciler = new Reconciler(rig.deps);
  await reconciler.reconcile();
  assert.deepEqual([...rig.queue.items.keys()].sort(), [`${job.id}.1.embed`, `${job.id}.2.embed`]);
  await rig.drain();
  await reconciler.reconcile();
  assert.equal(rig.queue.items.size, 0);
  await reconciler.close();
  await reconciler.close();
});

test('a started reconciler heals by itself', async () => {
  const rig = jobRig();
  const job = await rig.submit(documents(3));
  rig.queue.items.clear();
  const reconciler = new Reconciler(rig.deps);
  reconciler.start();
  while (rig.queue.items.size === 0) await new Promise((resolve) => setImmediate(resolve));
  await reconciler.close();
  assert.ok(rig.queue.items.has(`${job.id}.0.embed`));
});

test('of several reconcilers one at a time heals, each does at its start, and a dead one holds up nobody', async () => {
  const rig = jobRig();
  await rig.submit(documents(3));
  let readsOfShards = 0;
  const { readShards } = rig.ledger;
  rig.ledger.readShards = (...args) => {
    readsOfShards++;
    return readShards.apply(rig.ledger, args);
  };
  const deps = { ...rig.deps, config: { reconcileIntervalMs: 1 } };
  const answers = [false, false, true, false, true];
  /** Whether shards were looked at before each claim. */
  const healed: boolean[] = [];
  const done = Promise.withResolvers<void>();
  const claim = async (what: string, forMs: number) => {
    if (what !== 'healing-jobs') return false;
    assert.ok(forMs < deps.config.reconcileIntervalMs, 'whoever dies is replaced in the next round');
    healed.push(readsOfShards > 0);
    readsOfShards = 0;
    if (healed.length > answers.length) done.resolve();
    return answers[healed.length - 1] ?? false;
  };
  const reconciler = new Reconciler({ ...deps, backend: { ...deps.backend, claim } });
  reconciler.start();
  await done.promise;
  await reconciler.close();
  assert.deepEqual(healed.slice(1, answers.length + 1), [true, false, true, false, true]);
});

test('of several reconcilers one sweeps the storage', async () => {
  const rig = jobRig();
  const claimed = new Map<string, number>();
  const claim = async (what: string) => {
    claimed.set(what, (claimed.get(what) ?? 0) + 1);
    return claimed.get(what) === 1;
  };
  let listed = 0;
  const { list } = rig.storage;
  rig.storage.list = (prefix) => {
    listed++;
    return list.call(rig.storage, prefix);
  };
  const deps = { ...rig.deps, backend: { ...rig.deps.backend, claim } };
  const reconcilers = [new Reconciler(deps), new Reconciler(deps)];
  for (const reconciler of reconcilers) reconciler.start();
  while ([...claimed.values()].filter((times) => times === 2).length < 3)
    await new Promise((resolve) => setImmediate(resolve));
  await Promise.all(reconcilers.map((reconciler) => reconciler.close()));
  assert.equal(listed, 2, 'input and results, once each');
});

test('the sweep removes losers and dead uploads, and nothing that could still win', async () => {
  const rig = jobRig();
  const done = await rig.submit(documents(4));
  await rig.drain();
  const open = await rig.submit(documents(4));
  const put = (key: string) => rig.storage.put(key, Buffer.from('x'));
  await put(`results/${done.id}/0.aaaa.arrow`);
  await put(`results/${open.id}/0.bbbb.arrow`);
  await put('input/job_dead/0.ndjson');
  await put('results/job_dead/0.cccc.arrow');
  await rig.ledger.putShards('job_dead', [
    { ordinal: 0, state: 'pending', documents: 1, textBytes: 1, inputKey: 'input/job_dead/0.ndjson' },
  ]);
  const before = new Set(rig.storage.blobs.keys());
  const deps = { ledger: new Ledger(rig.ledger), storage: rig.storage, logger: rig.logger };
  const removed = () => [...before].filter((key) => !rig.storage.blobs.has(key)).sort();
  await sweepStorage(deps, Date.now());
  assert.deepEqual(removed(), [], 'whoever stored them may still record them');
  await sweepStorage(deps, Date.now() + DEAD_UPLOAD_AFTER_MS + 1000);
  assert.deepEqual(
    removed(),
    ['input/job_dead/0.ndjson', `results/${done.id}/0.aaaa.arrow`, 'results/job_dead/0.cccc.arrow'].sort(),
  );
  assert.ok(!rig.ledger.shards.has('job_dead'));
});

test('a job that cannot be looked after keeps no other from the sweep or from its end', async () => {
  const rig = jobRig();
  const bad = await rig.submit(documents(2), { retentionMs: 0 });
  const good = await rig.submit(documents(2), { retentionMs: 0 });
  await rig.drain();
  const { readJob } = rig.ledger;
  rig.ledger.readJob = async (id) => {
    if (id === bad.id) throw new SyntaxError('a record that is no JSON');
    return readJob.call(rig.ledger, id);
  };
  const deps = { ledger: new Ledger(rig.ledger), storage: rig.storage, logger: rig.logger };
  await rig.storage.put(`results/${good.id}/0.lost.arrow`, Buffer.from('lost'));
  await sweepStorage(deps, Date.now() + 2 * DEAD_UPLOAD_AFTER_MS);
  assert.ok(!rig.storage.blobs.has(`results/${good.id}/0.lost.arrow`));
  await expireJobs(deps, Date.now() + 1000);
  assert.deepEqual([...rig.ledger.jobs.keys()], [bad.id]);
});
