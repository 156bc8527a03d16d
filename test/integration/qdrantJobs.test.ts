import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, test } from 'node:test';
import type { Config } from '@trivec/core/config';
import { TrivecError } from '@trivec/core/errors';
import { JobService } from '@trivec/core/jobs/jobService';
import { jobView } from '@trivec/core/jobs/jobView';
import { Reconciler } from '@trivec/core/jobs/reconciler';
import type { JobRecord } from '@trivec/core/jobs/records';
import { isEnded } from '@trivec/core/jobs/stateMachine';
import { openQdrant } from '@trivec/core/sinks/qdrant/open';
import { createMetrics } from '@trivec/core/telemetry/metrics';
import { startWorker } from '../../apps/worker/src/worker.ts';
import { describeBackends, silentLogger as logger } from '../support/backends.ts';
import { FAKE_MODEL, FakeEngine } from '../support/fakeEngine.ts';
import { ANYONE, documents } from '../support/jobRig.ts';
import { QdrantDouble } from '../support/qdrantDouble.ts';
import { QdrantGrpcDouble } from '../support/qdrantGrpcDouble.ts';
import { assertWritten, COUNT, ended, hnswM, openRig, submit, until } from '../support/sinkJobs.ts';

describeBackends('jobs into Qdrant', { LOCK_DURATION_MS: '1000' }, (backends) => {
  after(async () => {
    const { dataDir } = await backends.config();
    await rm(`${dataDir}/blobs`, { recursive: true, force: true });
  });

  test('a corpus ends in the collection, once, with its counts; indexing is put off and restored', async (t) => {
    const rig = await openRig(t, backends);
    const patches: unknown[] = [];
    rig.double.fail({
      when: ({ method, body }) => {
        if (method === 'PATCH') patches.push(JSON.parse(body));
        return false;
      },
      kind: 'reset',
    });
    await rig.worker();
    const job = await submit(rig);
    const done = await ended(rig, job.id);
    assert.equal(done.status, 'completed');
    assert.deepEqual(done.counts, { documents: COUNT, embedded: COUNT, written: COUNT, failed: 0 });
    assert.equal(done.sink?.counts.points, COUNT);
    assert.ok(done.sink.counts.bytes > 0 && done.sink.finished);
    await assertWritten(rig, job.id);
    assert.deepEqual(patches, [{ hnsw_config: { m: 0 } }, { hnsw_config: { m: 16 } }]);
    assert.deepEqual(await rig.backend.sinkQueue().counts(), { waiting: 0, active: 0, delayed: 0 });
  });

  test('what cannot be is refused before anything is read', async (t) => {
    const rig = await openRig(t, backends);
    const code = async (destination: object) => {
      const before = rig.double.requests.length;
      const error = await submit(rig, destination).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      assert.ok(error instanceof TrivecError, String(error));
      assert.ok(rig.double.requests.slice(before).every(({ method }) => method === 'GET'));
      return error.code;
    };
    assert.equal(await code({ create: false }), 'collection_conflict');
    assert.equal(await code({ vectors: {} }), 'invalid_request');
    rig.double.store.create('docs', { vectors: { dense: { size: 5, distance: 'Cosine' } } });
    assert.equal(await code({}), 'collection_conflict');
    assert.equal(await code({ ifExists: 'fail' }), 'collection_conflict');
    rig.double.version = '1.9.7';
    assert.equal(await code({ collection: 'other' }), 'invalid_request');
    await rig.double.down();
    assert.equal(await code({}), 'sink_unavailable');
    const none = new JobService({ backend: rig.backend, storage: rig.storage, config: rig.config, logger });
    await assert.rejects(submit({ ...rig, service: none }), /QDRANT_URL/);
    assert.deepEqual(
      (await rig.service.list(ANYONE, { limit: 100 })).jobs.filter((job) => !isEnded(job)),
      [],
    );
  });

  test('Qdrant away: embedding goes on, nothing is embedded twice, and it ends when Qdrant is back', async (t) => {
    const rig = await openRig(t, backends);
    const engine = new FakeEngine({ fingerprint: rig.fingerprint });
    const job = await submit(rig);
    await rig.double.down();
    await rig.worker(engine);
    const stored = await until(
      () => rig.service.get(job.id, ANYONE),
      ({ shards }) => shards.stored === shards.total,
    );
    assert.equal(stored.status, 'running');
    assert.equal(stored.counts.embedded, COUNT);
    // Another job, without a destination, is not kept.
    const other = await rig.service.submit({
      source: { format: 'array', documents: documents(7) },
      options: {},
      model: { ...FAKE_MODEL, fingerprint: rig.fingerprint },
      owner: ANYONE.owner,
    });
    assert.equal((await ended(rig, other.id)).status, 'completed');
    const calls = engine.embedCalls.length;
    await rig.double.up();
    const done = await ended(rig, job.id);
    assert.deepEqual([done.status, done.counts.written], ['completed', COUNT]);
    assert.equal(engine.embedCalls.length, calls);
    assert.equal(hnswM(rig), 16);
    await assertWritten(rig, job.id);
  });

  test('cancelled while Qdrant is away: at once; when it is back, indexing is restored', async (t) => {
    const rig = await openRig(t, backends);
    const job = await submit(rig);
    rig.double.fail({ when: ({ method }) => method === 'PUT', kind: 'status', status: 503, times: 10_000 });
    await rig.worker();
    await until(
      async () => hnswM(rig),
      (m) => m === 0,
    );
    const cancelled = await rig.service.cancel(job.id, ANYONE);
    assert.equal(cancelled.status, 'cancelled');
    const settled = await until(
      () => rig.service.get(job.id, ANYONE),
      (found) => found.sink?.finished === true,
    );
    assert.equal(settled.status, 'cancelled');
    assert.equal(hnswM(rig), 16);
  });

  test('a crash forgets neither the restoration nor what was stored: the reconciler passes it on', async (t) => {
    const rig = await openRig(t, backends);
    const job = await submit(rig);
    const engine = new FakeEngine({ fingerprint: rig.fingerprint });
    const silent = { ...rig.config, qdrantUrl: undefined };
    const blind = await startWorker({
      config: silent,
      backend: rig.backend,
      storage: rig.storage,
      engines: [engine],
      metrics: createMetrics().worker,
      logger,
    });
    await until(
      () => rig.service.get(job.id, ANYONE),
      ({ shards }) => shards.stored === shards.total,
    );
    await blind.close();
    // As if the process had died before it passed them on.
    const ids = Array.from({ length: job.shards.total }, (_, i) => `${job.id}.${i}.sink`);
    await rig.backend.sinkQueue().remove(ids);
    const { backend, storage, config } = rig;
    const reconciler = new Reconciler({ backend, storage, config, logger });
    await reconciler.reconcile();
    assert.equal((await rig.backend.sinkQueue().present(ids)).size, job.shards.total);
    await rig.worker();
    assert.equal((await ended(rig, job.id)).counts.written, COUNT);
    await assertWritten(rig, job.id);
    await reconciler.close();
  });

  test('stored results go to another destination later, and a replacement is swapped in', async (t) => {
    const rig = await openRig(t, backends);
    await rig.worker();
    const job = await submit(rig, { collection: 'first' });
    await ended(rig, job.id);
    const again = await rig.service.ingest(job.id, ANYONE, { type: 'qdrant', collection: 'second' });
    assert.deepEqual([again.status, again.counts.written], ['running', 0]);
    assert.equal((await ended(rig, job.id)).counts.written, COUNT);
    await assertWritten(rig, job.id, 'second');
    for (const round of [3, 4]) {
      const replaced = await rig.service.ingest(job.id, ANYONE, {
        type: 'qdrant',
        collection: 'second',
        ifExists: 'replace',
        text: true,
      });
      assert.equal(replaced.sink?.run, round);
      assert.equal((await ended(rig, job.id)).status, 'completed');
      await assertWritten(rig, job.id, 'second');
      assert.equal(rig.double.store.aliases.get('second'), replaced.sink.collection);
    }
    assert.deepEqual([...rig.double.store.collections.keys()].sort(), [
      'first',
      rig.double.store.aliases.get('second'),
    ]);
    const running = await submit(rig, { collection: 'first' }, 5);
    const early = rig.service.ingest(running.id, ANYONE, { type: 'qdrant', collection: 'third' });
    await assert.rejects(early, (error: unknown) => error instanceof TrivecError && error.status === 409);
    await ended(rig, running.id);
  });

  test('what Qdrant refuses is listed beside what the model refused', async (t) => {
    const rig = await openRig(t, backends);
    rig.double.fail({
      when: ({ method, path, body }) => method === 'PUT' && path.endsWith('/points') && body.includes('"d7"'),
      kind: 'status',
      status: 400,
      message: 'Wrong input: not this one',
      times: 10_000,
    });
    await rig.worker();
    const job = await submit(rig);
    const done = await ended(rig, job.id);
    assert.deepEqual(done.counts, { documents: COUNT, embedded: COUNT, written: COUNT - 1, failed: 0 });
    assert.equal(done.sink?.counts.refused, 1);
    const errors = await Array.fromAsync(await rig.service.errors(job.id, ANYONE));
    assert.deepEqual(
      errors.map(({ id, code }) => [id, code]),
      [['d7', 'sink_rejected']],
    );
    assert.match(done.errors[0]!.message, /not this one/);
  });

  test('a key that is refused: embedding goes on, and the job says what it waits for', async (t) => {
    const rig = await openRig(t, backends);
    const job = await submit(rig);
    rig.double.fail({
      when: ({ method, path }) => method !== 'GET' || path === '/collections/docs',
      kind: 'status',
      status: 401,
      message: 'Invalid API key or JWT',
      times: 10_000,
    });
    await rig.worker();
    const waiting = await until(
      () => rig.service.get(job.id, ANYONE),
      ({ sink, shards }) => sink?.waiting !== undefined && shards.stored === shards.total,
    );
    assert.equal(waiting.status, 'running');
    assert.match(waiting.sink!.waiting!.reason, /401: Invalid API key/);
    assert.deepEqual([waiting.counts.written, waiting.counts.embedded], [0, COUNT]);
    assert.equal(jobView(waiting, Date.now()).sink?.waiting?.reason, waiting.sink!.waiting!.reason);
    // Its shards come again after KEY_RETRY_SECONDS or more: not here.
    await rig.service.cancel(job.id, ANYONE);
  });

  test('several servers by name: each has its own queue, and none is named by an address', async (t) => {
    const rig = await openRig(t, backends);
    const [eu, dead] = [await QdrantDouble.start({ apiKey: 'eu key' }), await QdrantDouble.start()];
    const grpc = await QdrantGrpcDouble.start(eu);
    t.after(async () => {
      await grpc.close();
      await eu.close();
      await dead.close();
    });
    const config: Config = {
      ...rig.config,
      qdrantTargets: JSON.stringify({
        eu: { url: eu.url, grpcUrl: grpc.url, apiKey: 'eu key' },
        dead: { url: dead.url },
      }),
    };
    const qdrant = openQdrant(config)!;
    t.after(() => qdrant.close());
    const { backend, storage } = rig;
    const named = { ...rig, service: new JobService({ backend, storage, config, logger, qdrant }) };
    await rig.worker(new FakeEngine({ fingerprint: rig.fingerprint }), config);
    const stuck = await submit(named, { target: 'dead' }, 12);
    await dead.down();
    const written = await submit(named, { target: 'eu' }, 12);
    assert.equal((await ended(named, written.id)).counts.written, 12);
    assert.equal(eu.points('docs').length, 12);
    assert.ok(eu.requests.some(({ path }) => path === '/qdrant.Points/Upsert'));
    assert.equal((await named.service.get(stuck.id, ANYONE)).status, 'running');
    await assert.rejects(submit(named, { target: 'us' }), /has no "us" \(it has eu, dead\)/);
    await named.service.cancel(stuck.id, ANYONE);
  });

  test('an alias that is moved while a job writes: all points are in one collection, and the job says which', async (t) => {
    const rig = await openRig(t, backends);
    const { store } = rig.double;
    await rig.worker();
    await ended(rig, (await submit(rig, { collection: 'blue' })).id);
    await ended(rig, (await submit(rig, { collection: 'green' }, 5)).id);
    const alias = (collection: string) =>
      store.changeAliases([{ create_alias: { alias_name: 'live', collection_name: collection } }]);
    alias('blue');
    let puts = 0;
    rig.double.fail({
      when: ({ method }) => {
        if (method === 'PUT' && ++puts === 3) alias('green');
        return false;
      },
      kind: 'reset',
    });
    const job = await submit(rig, { collection: 'live' });
    assert.deepEqual([job.sink?.collection, job.sink?.indexing], ['blue', 'asIs']);
    const done = await ended(rig, job.id);
    assert.deepEqual([done.status, done.counts.written, done.sink?.finished], ['completed', COUNT, true]);
    assert.ok(puts > 3);
    await assertWritten(rig, job.id, 'blue');
    assert.equal(rig.double.points('green').length, 5);
    const warnings = (job: JobRecord) => jobView(job, Date.now()).warnings;
    assert.deepEqual([done.errors, warnings(done).map(({ code }) => code)], [[], ['collection_moved']]);
    assert.match(warnings(done)[0]!.message, /wrote to blue.*live stands for green now/);
    const again = await rig.service.ingest(job.id, ANYONE, { type: 'qdrant', collection: 'live' });
    assert.equal(again.sink?.collection, 'green');
    assert.deepEqual(warnings(await ended(rig, job.id)), []);
    await assertWritten(rig, job.id, 'green');
  });

  test('a job that only upserts leaves nothing to do when it is cancelled', async (t) => {
    const rig = await openRig(t, backends);
    const worker = await rig.worker();
    await ended(rig, (await submit(rig, {}, 5)).id);
    await worker.close();
    const job = await submit(rig);
    assert.deepEqual([job.sink?.indexing, job.sink?.finished], ['asIs', false]);
    await rig.double.down();
    assert.equal((await rig.service.cancel(job.id, ANYONE)).sink?.finished, true);
    await rig.service.delete(job.id, ANYONE);
  });

  test('a collection that vanishes fails the writing, not the job for ever', async (t) => {
    const rig = await openRig(t, backends);
    const job = await submit(rig);
    rig.double.store.delete('docs');
    await rig.worker();
    const done = await ended(rig, job.id);
    assert.deepEqual([done.status, done.counts.embedded, done.counts.written], ['failed', COUNT, 0]);
    assert.match(done.errors[0]!.message, /doesn't exist/);
  });
});
