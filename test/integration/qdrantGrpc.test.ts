import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { TrivecError } from '../../packages/core/src/errors.ts';
import { collectionRules } from '../../packages/core/src/sinks/qdrant/collection.ts';
import { isKeyRefused } from '../../packages/core/src/sinks/qdrant/failure.ts';
import { checkCollection, makeCollection } from '../../packages/core/src/sinks/qdrant/lifecycle.ts';
import type { SinkDocument } from '../../packages/core/src/sinks/qdrant/points.ts';
import { writeDocuments } from '../../packages/core/src/sinks/qdrant/writer.ts';
import { QdrantDouble } from '../support/qdrantDouble.ts';
import { QdrantGrpcDouble } from '../support/qdrantGrpcDouble.ts';
import { connectTo, testOnQdrant } from '../support/qdrantServers.ts';
import { qdrantDestination, sinkDocument } from '../support/sinkDocuments.ts';

const DIMS = 8;
const RULES = collectionRules(
  { dense: 'dense', sparse: 'sparse', colbert: 'colbert' },
  { dense: DIMS, colbert: DIMS, sparse: true },
);
const PLAN = { action: 'create', collection: 'docs' } as const;
const UPSERT = { when: ({ method }: { method: string }) => method === 'GRPC' };

async function rig(t: TestContext, overrides: Parameters<typeof connectTo>[1] = {}) {
  const double = await QdrantDouble.start(overrides.apiKey === undefined ? {} : { apiKey: overrides.apiKey });
  const grpc = await QdrantGrpcDouble.start(double);
  const connection = connectTo(double.url, { grpcUrl: grpc.url, ...overrides });
  t.after(async () => {
    await connection.close();
    await grpc.close();
    await double.close();
  });
  await makeCollection(connection, PLAN, RULES);
  return { double, grpc, connection };
}

function target(connection: ReturnType<typeof connectTo>, collection = 'docs') {
  return {
    connection,
    collection,
    destination: qdrantDestination(collection),
    jobId: 'job-1',
    limits: { maxBytes: 4000, maxPoints: 64 },
    concurrency: 4,
  };
}

const corpus = (count: number): SinkDocument[] =>
  Array.from({ length: count }, (_, i) =>
    sinkDocument(i % 3 === 0 ? String(i) : `doc-${i}`, i + 1, { dims: DIMS, rows: 2, payload: { i } }),
  );

const unavailable = (pattern: RegExp) => (error: unknown) =>
  error instanceof TrivecError && error.code === 'sink_unavailable' && pattern.test(error.message);

/** The same corpus, by REST, in a double that nothing happens to. */
async function writtenByRest(t: TestContext, documents: SinkDocument[]) {
  const double = await QdrantDouble.start();
  const connection = connectTo(double.url);
  t.after(async () => {
    await connection.close();
    await double.close();
  });
  await makeCollection(connection, PLAN, RULES);
  await writeDocuments(target(connection), documents);
  return double.points('docs');
}

test('every kind of fault is survived, and the points are those that REST writes', async (t) => {
  const { double, connection } = await rig(t);
  double.fail(
    { ...UPSERT, kind: 'status', status: 429, retryAfter: '0' },
    { ...UPSERT, kind: 'reset' },
    { ...UPSERT, kind: 'reset', applied: true },
    { ...UPSERT, kind: 'half' },
    { ...UPSERT, kind: 'status', status: 503, times: 2 },
    { ...UPSERT, kind: 'status', status: 500 },
    { ...UPSERT, kind: 'lost' },
  );
  const documents = corpus(120);
  const report = await writeDocuments(target(connection), documents);
  assert.deepEqual([report.documents, report.failed], [120, []]);
  // A connection that is cut may take an answer of another request with it, so that fewer slow this side down.
  assert.ok(report.retries >= 7 && report.slowDowns >= 1 && report.bytes > 10_000);
  assert.deepEqual(double.points('docs'), await writtenByRest(t, documents));
  const puts = double.requests.filter(({ method, path }) => method === 'PUT' && path.endsWith('/points'));
  assert.equal(puts.length, 0, 'nothing was upserted by REST');
});

test('a gRPC port that is away while REST is there: said before a job, waited for while writing', async (t) => {
  const { double, grpc, connection } = await rig(t, { retries: 1 });
  await grpc.down();
  const check = () => checkCollection(connection, qdrantDestination('docs'), RULES, 'j');
  await assert.rejects(check(), unavailable(/QDRANT_GRPC_URL.*ECONNREFUSED/));
  await assert.rejects(writeDocuments(target(connection), corpus(3)), unavailable(/QDRANT_GRPC_URL/));
  await grpc.up();
  await check();
  assert.equal((await writeDocuments(target(connection), corpus(30))).documents, 30);
  assert.equal(double.points('docs').length, 30);
  const rest = connectTo(double.url, { grpcUrl: double.url, retries: 0 });
  t.after(() => rest.close());
  await assert.rejects(
    checkCollection(rest, qdrantDestination('docs'), RULES, 'j'),
    unavailable(/QDRANT_GRPC_URL/),
    "REST's port given for gRPC's",
  );
});

test('the key travels; a refused one, or a missing collection, is not blamed on documents', async (t) => {
  const { double, grpc, connection } = await rig(t, { apiKey: 'right' });
  assert.equal((await writeDocuments(target(connection), corpus(3))).documents, 3);
  double.fail({ ...UPSERT, kind: 'status', status: 401, message: 'Invalid API key or JWT' });
  await assert.rejects(writeDocuments(target(connection), corpus(3)), isKeyRefused);
  const wrong = connectTo(double.url, { grpcUrl: grpc.url, apiKey: 'wrong' });
  t.after(() => wrong.close());
  await assert.rejects(wrong.checkUpserts('docs'), isKeyRefused);
  await assert.rejects(
    writeDocuments(
      { ...target(connection, 'gone'), destination: qdrantDestination('gone', { deleteStaleChunks: false }) },
      corpus(3),
    ),
    (error: unknown) =>
      error instanceof TrivecError && error.code === 'sink_rejected' && /doesn't exist/.test(error.message),
  );
});

test('no answer in time is asked again; cancelling ends the writing at once', async (t) => {
  const { double, grpc, connection } = await rig(t, { timeoutMs: 150 });
  double.fail({ ...UPSERT, kind: 'slow', ms: 600 });
  const report = await writeDocuments(target(connection), corpus(3));
  assert.deepEqual([report.documents, report.retries, report.slowDowns], [3, 1, 1]);
  const cancelled = new AbortController();
  double.fail({ ...UPSERT, kind: 'status', status: 503, times: 1_000_000 });
  const patient = connectTo(double.url, { grpcUrl: grpc.url, retries: 1000, retryDelayMs: 10 });
  t.after(() => patient.close());
  const writing = writeDocuments(target(patient), corpus(3), { signal: cancelled.signal });
  setTimeout(() => cancelled.abort(new TrivecError('cancelled', 'The job was cancelled.')), 50);
  await assert.rejects(
    writing,
    (error: unknown) => error instanceof TrivecError && error.code === 'cancelled',
  );
});

test('requests of many megabytes at once need no second try', async (t) => {
  const { connection } = await rig(t);
  const large = Array.from({ length: 8 }, (_, i) =>
    sinkDocument(String(i), i + 1, { dims: DIMS, rows: 1, payload: { x: 'x'.repeat(4_000_000) } }),
  );
  const report = await writeDocuments({ ...target(connection), concurrency: 8 }, large);
  assert.deepEqual([report.documents, report.retries], [8, 0]);
});

testOnQdrant(
  'payloads of any depth and kind arrive as they were sent',
  async (_t, { connection, collection, url }) => {
    await makeCollection(connection, { ...PLAN, collection }, RULES);
    let deep: unknown = 'end';
    for (let level = 0; level < 60; level++) deep = level % 2 ? [deep] : { a: deep };
    const kinds = { i: 7, f: 0.25, n: null, s: 'é🙂', b: false, l: [], o: { x: [1, { y: [2.5] }] } };
    const documents = [kinds, { deep }, { last: 1 }].map((payload, i) =>
      sinkDocument(String(i), i + 1, { dims: DIMS, rows: 2, payload }),
    );
    const report = await writeDocuments(target(connection, collection), documents);
    assert.deepEqual([report.documents, report.failed], [3, []]);
    const answer = await fetch(`${url}/collections/${collection}/points`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ids: [0, 1, 2], with_payload: true }),
    });
    const { result } = (await answer.json()) as { result: { payload: Record<string, unknown> }[] };
    for (const [i, { payload }] of result.entries()) {
      const { trivec: _trivec, text: _text, ...own } = payload;
      assert.deepEqual(own, documents[i]!.payload);
    }
  },
  { grpc: true },
);
