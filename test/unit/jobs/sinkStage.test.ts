import assert from 'node:assert/strict';
import test from 'node:test';
import { TrivecError } from '@trivec/core/errors';
import { Ledger } from '@trivec/core/jobs/ledger';
import type { SinkState } from '@trivec/core/jobs/records';
import { NO_SINK_COUNTS } from '@trivec/core/jobs/sinkPlan';
import { runSinkShard, type SinkStageDeps } from '@trivec/core/jobs/sinkStage';
import { NOTHING_TO_WRITE, writeShard } from '@trivec/core/jobs/sinkWrite';
import { resolveDestination } from '@trivec/core/sinks/qdrant/destination';
import { ANYONE, documents, jobRig } from '../../support/jobRig.ts';

const REPORT = { ...NOTHING_TO_WRITE, documents: 3, points: 3 };
const destination = resolveDestination({ type: 'qdrant', collection: 'docs' });
const sink: Omit<SinkState, 'run'> = {
  collection: 'docs',
  indexing: 'asIs',
  finished: true,
  counts: NO_SINK_COUNTS,
};

/** A completed job of one shard that is being sent to a destination. */
async function ingesting() {
  const rig = jobRig();
  const { id } = await rig.submit(documents(3));
  await rig.drain();
  const ledger = new Ledger(rig.ledger);
  assert.ok((await ledger.applyToJob(id, { type: 'ingest', destination, sink })).ok);
  const run = (write: SinkStageDeps['writer']['write']) =>
    runSinkShard(
      {
        ledger: rig.ledger,
        storage: rig.storage,
        // Nothing is to be put in order: only points would go there.
        sink: {} as SinkStageDeps['sink'],
        writer: { write, close: async () => undefined },
        logger: rig.logger,
      },
      { jobId: id, ordinal: 0 },
      new AbortController().signal,
    );
  return { rig, id, ledger, run };
}

test('results that the storage has lost fail their shard, and the job ends', async () => {
  const { rig, id, run } = await ingesting();
  for (const key of rig.storage.blobs.keys()) if (key.endsWith('.arrow')) rig.storage.blobs.delete(key);
  await run(() => assert.fail('there is nothing to write'));
  const job = await rig.job(id);
  assert.deepEqual([job.status, job.counts.written, job.shards.written], ['failed', 0, 1]);
  const [error] = await Array.fromAsync(await rig.service.errors(id, ANYONE));
  assert.match(error!.message, /results of the 3 documents of shard 0 are missing/);
});

test('damaged results fail their shard instead of being tried for ever', async () => {
  const task = { results: Buffer.from('not Arrow'), collection: 'docs', destination, mark: 'job_a' };
  const { signal } = new AbortController();
  const report = await writeShard({} as SinkStageDeps['sink'], task, { signal });
  assert.deepEqual([report.documents, report.failed.length], [0, 1]);
  assert.match(report.failed[0]!.message, /damaged/);
});

test('a write that ends after the next ingestion began does not count for it', async () => {
  const { rig, id, ledger, run } = await ingesting();
  const late = await run(async () => {
    assert.ok((await ledger.applyToJob(id, { type: 'cancel' })).ok);
    assert.ok((await ledger.applyToJob(id, { type: 'ingest', destination, sink })).ok);
    return { ...NOTHING_TO_WRITE, documents: 3 };
  });
  assert.deepEqual(late, { written: false, reason: 'other_run' });
  assert.equal((await rig.job(id)).counts.written, 0);
  await run(async () => ({ ...NOTHING_TO_WRITE, documents: 3 }));
  const job = await rig.job(id);
  assert.deepEqual([job.status, job.counts.written, job.sink?.run], ['completed', 3, 2]);
});

test('a job says why it waits and since when, and no longer when it goes on', async () => {
  const { rig, id, run } = await ingesting();
  const away = (message: string) => () => Promise.reject(new TrivecError('sink_unavailable', message));
  await assert.rejects(run(away('Qdrant cannot be reached: ECONNREFUSED.')), /ECONNREFUSED/);
  const first = (await rig.job(id)).sink?.waiting;
  assert.equal(first?.reason, 'Qdrant cannot be reached: ECONNREFUSED.');
  const { version } = await rig.job(id);
  await assert.rejects(run(away('Qdrant cannot be reached: ECONNREFUSED.')));
  assert.equal((await rig.job(id)).version, version, 'the same again is not written again');
  await assert.rejects(run(away('Qdrant answered 503: starting')));
  assert.deepEqual((await rig.job(id)).sink?.waiting, {
    reason: 'Qdrant answered 503: starting',
    sinceMs: first.sinceMs,
  });
  await run(async () => REPORT);
  const done = await rig.job(id);
  assert.deepEqual([done.status, done.counts.written, done.sink?.waiting], ['completed', 3, undefined]);
});

test('what is queued for another server than the job has now is dropped', async () => {
  const { rig, id } = await ingesting();
  const writer = { write: () => assert.fail('nothing is written'), close: async () => undefined };
  const { ledger, storage, logger } = rig;
  const outcome = await runSinkShard(
    { ledger, storage, target: 'eu', sink: {} as SinkStageDeps['sink'], writer, logger },
    { jobId: id, ordinal: 0 },
    new AbortController().signal,
  );
  assert.deepEqual(outcome, { written: false, reason: 'other_run' });
});
