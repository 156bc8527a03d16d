import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Backend } from '@trivec/core/backend/backend';
import { TrivecError } from '@trivec/core/errors';
import { JobService } from '@trivec/core/jobs/jobService';
import { Ledger } from '@trivec/core/jobs/ledger';
import { Reconciler } from '@trivec/core/jobs/reconciler';
import type { JobRecord, SinkState } from '@trivec/core/jobs/records';
import { NO_SINK_COUNTS } from '@trivec/core/jobs/sinkPlan';
import { runSinkShard, type SinkStageDeps } from '@trivec/core/jobs/sinkStage';
import { NOTHING_TO_WRITE, writeShard } from '@trivec/core/jobs/sinkWrite';
import { isSinkServed, unservedReason } from '@trivec/core/jobs/unservedSink';
import type { ShardPointer } from '@trivec/core/queue/workQueue';
import { QdrantConnection } from '@trivec/core/sinks/qdrant/client';
import { resolveDestination } from '@trivec/core/sinks/qdrant/destination';
import { ANYONE, documents, jobRig } from '../../support/jobRig.ts';
import { MemoryQueue } from '../../support/memory.ts';

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

test('a request that is being tried still shows why the job waits; a shard that is written takes it back', async () => {
  const { rig, id, run } = await ingesting();
  const reason = 'Qdrant did not answer within 60000 ms.';
  await run(async (_task, { observer }) => {
    observer!.onStall!(reason);
    observer!.onStall!(reason);
    await nextTurn();
    assert.equal((await rig.job(id)).sink?.waiting?.reason, reason);
    // Noted last, and it must not be what remains.
    observer!.onStall!('Qdrant answered 503: busy');
    return REPORT;
  });
  const done = await rig.job(id);
  assert.deepEqual([done.status, done.sink?.waiting], ['completed', undefined]);
});

test('a server that takes requests and is silent is told of at the first timeout, one that refuses for a moment is not', async () => {
  const silent = createServer(() => undefined);
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const connection = new QdrantConnection({
    url: `http://127.0.0.1:${port}`,
    timeoutMs: 50,
    concurrency: 1,
    retries: 1,
    retryDelayMs: 1,
  });
  const stalls: string[] = [];
  const observer = { onStall: (reason: string) => stalls.push(reason) };
  await assert.rejects(connection.upsert('docs', [], { confirm: true, observer }), {
    code: 'sink_unavailable',
  });
  assert.deepEqual(stalls, [`Qdrant at http://127.0.0.1:${port} did not answer within 50 ms.`]);
  silent.closeAllConnections();
  silent.close();
  await once(silent, 'close');
  await assert.rejects(connection.upsert('docs', [], { confirm: true, observer }), /ECONNREFUSED/);
  assert.equal(stalls.length, 1);
  await connection.close();
});

test('a job whose server nobody has any more says which, and can be cancelled and deleted', async () => {
  const rig = jobRig();
  const { id } = await rig.submit(documents(3));
  await rig.drain();
  const ledger = new Ledger(rig.ledger);
  const eu = resolveDestination({ type: 'qdrant', collection: 'docs', target: 'eu' });
  const open = { ...sink, indexing: 'toDefer' as const, finished: false };
  assert.ok((await ledger.applyToJob(id, { type: 'ingest', destination: eu, sink: open })).ok);
  let workers: { destinations?: readonly string[] }[] = [{ destinations: ['', 'us'] }];
  let starting: { destinations: readonly string[] }[] = [];
  const sinkQueue = new MemoryQueue<ShardPointer>();
  const backend = {
    ...rig.deps.backend,
    sinkQueue: () => sinkQueue,
    registry: { list: async () => workers, listStarting: async () => starting },
  } as unknown as Backend;
  const reconciler = new Reconciler({ ...rig.deps, backend });
  const waiting = async () => {
    await reconciler.reconcile();
    return (await rig.job(id)).sink?.waiting?.reason;
  };
  assert.match((await waiting())!, /No worker has the Qdrant server "eu": name it in QDRANT_TARGETS/);
  workers = [];
  assert.equal(await waiting(), 'No worker runs.');
  const { version } = await rig.job(id);
  assert.equal(await waiting(), 'No worker runs.');
  assert.equal((await rig.job(id)).version, version, 'the same again is not written again');
  starting = [{ destinations: ['', 'eu'] }];
  assert.match((await waiting())!, /A worker starts/);
  assert.equal(sinkQueue.items.size, 1, 'it waits to be taken');
  const service = new JobService({ ...rig.deps, backend });
  assert.equal((await service.cancel(id, ANYONE)).status, 'cancelled');
  await service.delete(id, ANYONE);
  assert.equal(await rig.ledger.readJob(id), undefined);
});

test('a job whose server is there again goes on', async () => {
  const { rig, id, ledger } = await ingesting();
  const reason = unservedReason(await rig.job(id), [{ destinations: [] }], []);
  assert.ok((await ledger.applyToJob(id, { type: 'sinkWaits', run: 1, reason })).ok);
  assert.equal((await rig.job(id)).sink?.waiting?.reason, reason);
  const { ledger: store, storage, logger } = rig;
  const writer = { write: async () => REPORT, close: async () => undefined };
  const deps = { ledger: store, storage, sink: {} as SinkStageDeps['sink'], writer, logger };
  await runSinkShard(deps, { jobId: id, ordinal: 0 }, new AbortController().signal);
  const done = await rig.job(id);
  assert.deepEqual([done.status, done.sink?.waiting], ['completed', undefined]);
});

test('which worker serves a destination', () => {
  const to = (target: string | undefined) =>
    ({ options: { destination: { ...destination, ...(target !== undefined && { target }) } } }) as JobRecord;
  assert.ok(isSinkServed(to(undefined), [{ destinations: [''] }]));
  assert.ok(isSinkServed(to('eu'), [{ destinations: [] }, { destinations: ['eu'] }]));
  assert.ok(isSinkServed(to('eu'), [{}]), 'of an older version: it does not say');
  const others = [{ destinations: ['', 'us'] }];
  assert.ok(!isSinkServed(to('eu'), others));
  assert.match(unservedReason(to(undefined), [{ destinations: ['eu'] }], []), /QDRANT_URL/);
  assert.match(unservedReason(to('eu'), others, []), /"eu".*QDRANT_TARGETS/);
  const coming = (destinations: string[]) => [{ workerId: 'w', destinations }];
  assert.match(unservedReason(to('eu'), others, coming(['eu'])), /A worker starts/);
  assert.equal(unservedReason(to('eu'), [], coming([''])), 'No worker runs.', 'nor one that will do');
});
