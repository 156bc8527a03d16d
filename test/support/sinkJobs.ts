import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Backend } from '@trivec/core/backend/backend';
import { type Config, loadConfig } from '@trivec/core/config';
import { JobService } from '@trivec/core/jobs/jobService';
import type { JobRecord } from '@trivec/core/jobs/records';
import { isEnded } from '@trivec/core/jobs/stateMachine';
import type { Consumer } from '@trivec/core/queue/workQueue';
import { openQdrant, type QdrantSinks } from '@trivec/core/sinks/qdrant/open';
import type { BlobStore } from '@trivec/core/storage/blobStore';
import { openStorage } from '@trivec/core/storage/open';
import { createMetrics } from '@trivec/core/telemetry/metrics';
import { startWorker } from '../../apps/worker/src/worker.ts';
import { silentLogger as logger, type TestBackends } from './backends.ts';
import { FAKE_MODEL, FakeEngine } from './fakeEngine.ts';
import { ANYONE, documents } from './jobRig.ts';
import { QdrantDouble } from './qdrantDouble.ts';

const TIMEOUT_MS = 20_000;
export const COUNT = 47;

interface Rig {
  backend: Backend;
  config: Config;
  storage: BlobStore;
  service: JobService;
  double: QdrantDouble;
  qdrant: QdrantSinks;
  fingerprint: string;
  worker(engine?: FakeEngine, config?: Config): Promise<Consumer>;
}

let rigs = 0;

export async function openRig(t: TestContext, backends: TestBackends): Promise<Rig> {
  const double = await QdrantDouble.start();
  const [backend, shared] = [await backends.backend(), await backends.config()];
  const config: Config = {
    ...shared,
    ...pick(loadConfig({ QDRANT_URL: double.url, QDRANT_REQUEST_BYTES: '4096', QDRANT_TIMEOUT_MS: '5000' })),
    shardMaxDocuments: 5,
  };
  const storage = await openStorage(config);
  const qdrant = openQdrant(config)!;
  const service = new JobService({ backend, storage, config, logger, qdrant });
  const fingerprint = `sink-${rigs++}`;
  const workers: Consumer[] = [];
  t.after(async () => {
    for (const worker of workers) await worker.close();
    await qdrant.close();
    await double.close();
  });
  return {
    backend,
    config,
    storage,
    service,
    double,
    qdrant,
    fingerprint,
    worker: async (engine = new FakeEngine({ fingerprint }), workerConfig = config) => {
      const metrics = createMetrics().worker;
      const deps = { config: workerConfig, backend, storage, engines: [engine], metrics, logger };
      const worker = await startWorker(deps);
      workers.push(worker);
      return worker;
    },
  };
}

function pick({ qdrantUrl, qdrantRequestBytes, qdrantTimeoutMs }: Config) {
  return { qdrantUrl, qdrantRequestBytes, qdrantTimeoutMs };
}

export function submit(rig: Rig, destination: object = {}, count = COUNT): Promise<JobRecord> {
  return rig.service.submit({
    source: {
      format: 'array',
      documents: documents(count).map((document, i) => ({
        ...document,
        payload: { i, lang: i % 2 ? 'en' : 'de' },
      })),
    },
    options: {
      outputs: ['dense', 'sparse', 'colbert'],
      destination: { type: 'qdrant', collection: 'docs', ...destination },
    },
    model: { ...FAKE_MODEL, fingerprint: rig.fingerprint },
    owner: ANYONE.owner,
  });
}

export async function until<T>(read: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
  for (const deadline = Date.now() + TIMEOUT_MS; Date.now() < deadline; await sleep(20)) {
    const value = await read();
    if (holds(value)) return value;
  }
  throw new Error('it did not happen in time');
}

export const ended = (rig: Rig, id: string) => until(() => rig.service.get(id, ANYONE), isEnded);

/** Each document is one point, equal to its line of the results. */
export async function assertWritten(rig: Rig, id: string, collection = 'docs', count = COUNT): Promise<void> {
  const points = new Map(rig.double.points(collection).map((point) => [origin(point).id, point]));
  assert.equal(rig.double.points(collection).length, count);
  assert.equal(points.size, count);
  const { body } = await rig.service.results(id, ANYONE, { format: 'ndjson' });
  const lines = Buffer.concat(await Array.fromAsync(body))
    .toString()
    .trim()
    .split('\n');
  assert.equal(lines.length, count);
  for (const text of lines) {
    const line = JSON.parse(text);
    const { vectors, payload } = points.get(line.id)!;
    assert.equal(payload.i, Number(line.id.slice(1)));
    assert.match(String(payload.text), /^word number x+$/);
    const sparse = vectors.get('sparse');
    assert.ok(sparse?.kind === 'sparse');
    assert.deepEqual(sparse.indices, line.sparse.indices);
    assert.deepEqual(sparse.values, line.sparse.values.map(Math.fround));
    const dense = vectors.get('dense');
    assert.ok(dense?.kind === 'dense');
    const norm = Math.hypot(...line.dense);
    for (const [axis, value] of dense.values.entries())
      assert.ok(Math.abs(value - line.dense[axis] / norm) < 1e-6);
    const colbert = vectors.get('colbert');
    assert.ok(colbert?.kind === 'multi');
    assert.equal(colbert.rows.length, line.colbert.length);
  }
}

function origin(point: { payload: Record<string, unknown> }) {
  return point.payload.trivec as { id: string; job: string };
}

export const hnswM = (rig: Rig, collection = 'docs') => rig.double.store.find(collection).hnswConfig.m;
