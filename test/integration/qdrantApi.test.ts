import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Backend } from '@trivec/core/backend/backend';
import { loadConfig } from '@trivec/core/config';
import { JobService } from '@trivec/core/jobs/jobService';
import { runSinkShard } from '@trivec/core/jobs/sinkStage';
import { writeShard } from '@trivec/core/jobs/sinkWrite';
import type { ShardPointer } from '@trivec/core/queue/workQueue';
import { openQdrant } from '@trivec/core/sinks/qdrant/open';
import { apiRig, assertError } from '../support/apiRig.ts';
import { jobRig } from '../support/jobRig.ts';
import { MemoryQueue } from '../support/memory.ts';
import { QdrantDouble } from '../support/qdrantDouble.ts';

const DOCUMENTS = [
  { id: 'a', text: 'one two three', payload: { lang: 'en' } },
  { id: 'b', text: 'fourteen letters', payload: { lang: 'de' } },
  { id: '7', text: 'seven', payload: { lang: 'en' } },
];
const OUTPUTS = ['dense', 'sparse', 'colbert'];
const destination = { type: 'qdrant', collection: 'docs' };

/** The API and a double; `work` does what workers would. */
async function rig(t: TestContext) {
  const double = await QdrantDouble.start();
  const qdrant = openQdrant(loadConfig({ QDRANT_URL: double.url }))!;
  const jobs = jobRig();
  const sinkQueue = new MemoryQueue<ShardPointer>();
  const backend = { ...jobs.deps.backend, sinkQueue: () => sinkQueue } as unknown as Backend;
  const service = new JobService({ ...jobs.deps, backend, qdrant });
  const api = await apiRig(t, { deps: { jobs: service, qdrant } });
  t.after(async () => {
    await qdrant.close();
    await double.close();
  });
  const { ledger, storage, logger } = jobs;
  const writer = {
    write: (
      ...[task, options]: Parameters<typeof writeShard> extends [unknown, ...infer Rest] ? Rest : never
    ) => writeShard(qdrant.of(undefined)!, task, options),
    close: async () => {},
  };
  return {
    ...api,
    double,
    async work(id: string) {
      await jobs.drain();
      const { signal } = new AbortController();
      for (let ordinal = 0; ordinal < 3; ordinal++)
        await runSinkShard(
          { ledger, storage, sink: qdrant.of(undefined)!, writer, logger },
          { jobId: id, ordinal },
          signal,
        );
    },
  };
}

test('a JSON job with a destination, then search in every mode', async (t) => {
  const { post, get, work, double } = await rig(t);
  const accepted = await post('/jobs', { documents: DOCUMENTS, outputs: OUTPUTS, destination });
  assert.equal(accepted.statusCode, 202, accepted.body);
  const { id } = accepted.json();
  await work(id);
  const job = (await get(`/jobs/${id}`)).json();
  assert.deepEqual([job.status, job.counts.written, job.sink.points], ['completed', 3, 3]);
  assert.equal(double.points('docs').length, 3);
  for (const mode of ['hybrid', 'dense', 'sparse', 'rerank']) {
    const answer = await post('/search', { collection: 'docs', query: 'one two three', mode, limit: 2 });
    assert.equal(answer.statusCode, 200, answer.body);
    const { hits } = answer.json();
    assert.deepEqual(
      [hits[0].id, hits[0].text, hits[0].payload],
      ['a', 'one two three', { lang: 'en' }],
      mode,
    );
  }
  const filter = { must: [{ key: 'lang', match: { value: 'de' } }] };
  const { hits } = (await post('/search', { collection: 'docs', query: 'one', filter })).json();
  assert.deepEqual(
    hits.map((hit: { id: string }) => hit.id),
    ['b'],
  );
});

test('a streamed job takes its destination as JSON in the query', async (t) => {
  const { postLines, work, double } = await rig(t);
  const lines = DOCUMENTS.map((document) => JSON.stringify(document)).join('\n');
  const url = (value: unknown) =>
    `/jobs?outputs=dense&destination=${encodeURIComponent(typeof value === 'string' ? value : JSON.stringify(value))}`;
  const accepted = await postLines(url(destination), lines);
  assert.equal(accepted.statusCode, 202, accepted.body);
  await work(accepted.json().id);
  assert.equal(double.points('docs').length, 3);
  assertError(
    await postLines(url('no json'), lines),
    400,
    'invalid_request',
    /destination must be a JSON/,
    'destination',
  );
  assertError(
    await postLines(url({ ...destination, colour: 1 }), lines),
    400,
    'invalid_request',
    /colour/,
    'destination.colour',
  );
  assertError(
    await postLines(url({ ...destination, url: 'http://169.254.169.254' }), lines),
    400,
    'invalid_request',
    /url/,
  );
});

test('stored results are ingested later', async (t) => {
  const { post, work, double } = await rig(t);
  const { id } = (await post('/jobs', { documents: DOCUMENTS, outputs: OUTPUTS })).json();
  assertError(await post(`/jobs/${id}/ingest`, { destination }), 409, 'job_conflict', /must have ended/);
  await work(id);
  const ingesting = await post(`/jobs/${id}/ingest`, { destination });
  assert.equal(ingesting.statusCode, 202, ingesting.body);
  await work(id);
  assert.equal(double.points('docs').length, 3);
  assertError(await post('/jobs/none/ingest', { destination }), 404, 'job_not_found', /none/);
  assertError(await post(`/jobs/${id}/ingest`, {}), 400, 'invalid_request', /destination/);
});

test('what is wrong with a destination or a search is said', async (t) => {
  const { post, double } = await rig(t);
  const submit = (extra: object) =>
    post('/jobs', { documents: DOCUMENTS, outputs: OUTPUTS, destination: { ...destination, ...extra } });
  double.store.create('docs', { vectors: { dense: { size: 3, distance: 'Dot' } } });
  assertError(
    await submit({}),
    409,
    'collection_conflict',
    /sends 4 Cosine, the collection has 3 Dot/,
    'destination',
  );
  assertError(
    await submit({ target: 'eu' }),
    400,
    'invalid_request',
    /QDRANT_TARGETS has no "eu" \(it has none\)/,
    'destination.target',
  );
  assertError(await submit({ target: 'http://eu:6333' }), 400, 'invalid_request', /destination\.target/);
  assertError(
    await post('/search', { target: 'eu', collection: 'docs', query: 'q' }),
    400,
    'invalid_request',
    /has no "eu"/,
    'target',
  );
  assertError(await submit({ collection: 'a/b' }), 400, 'invalid_request', /destination\.collection/);
  assertError(await submit({ vectors: { dense: 'x', sparse: 'x' } }), 400, 'invalid_request', /two outputs/);
  assertError(
    await post('/search', { collection: 'none', query: 'q' }),
    404,
    'not_found',
    /none/,
    'collection',
  );
  assertError(
    await post('/search', { collection: 'docs', query: 'q', mode: 'sparse' }),
    400,
    'invalid_request',
    /mode sparse/,
    'mode',
  );
  assertError(
    await post('/search', { collection: 'docs', query: 'q', filter: { musst: [] } }),
    422,
    'sink_rejected',
    /unknown field `musst`/,
  );
  await double.down();
  assertError(await submit({}), 503, 'sink_unavailable', /cannot be reached/);
  assertError(
    await post('/search', { collection: 'docs', query: 'q' }),
    503,
    'sink_unavailable',
    /cannot be reached/,
  );
});

test('without QDRANT_URL there is no destination', async (t) => {
  const { post } = await apiRig(t);
  const job = { documents: DOCUMENTS, destination };
  assertError(await post('/jobs', job), 400, 'invalid_request', /QDRANT_URL/, 'destination');
  assertError(
    await post('/search', { collection: 'docs', query: 'q' }),
    400,
    'invalid_request',
    /QDRANT_URL/,
  );
});
