import assert from 'node:assert/strict';
import test from 'node:test';
import { TrivecError } from '../../packages/core/src/errors.ts';
import type { QdrantConnection } from '../../packages/core/src/sinks/qdrant/client.ts';
import {
  collectionRules,
  createBody,
  planCollection,
} from '../../packages/core/src/sinks/qdrant/collection.ts';
import type { QdrantDestination } from '../../packages/core/src/sinks/qdrant/destination.ts';
import {
  checkCollection,
  deferIndexing,
  dropReplacement,
  makeCollection,
  readHnswM,
  restoreIndexing,
  swapAlias,
} from '../../packages/core/src/sinks/qdrant/lifecycle.ts';
import type { SinkDocument } from '../../packages/core/src/sinks/qdrant/points.ts';
import { namesFrom, readHits, searchBody } from '../../packages/core/src/sinks/qdrant/search.ts';
import { writeDocuments } from '../../packages/core/src/sinks/qdrant/writer.ts';
import { QdrantDouble } from '../support/qdrantDouble.ts';
import { connectTo, readAll, testOnQdrant } from '../support/qdrantServers.ts';
import { qdrantDestination, sinkDocument } from '../support/sinkDocuments.ts';

const DIMS = 8;
const NAMES = { dense: 'dense', sparse: 'sparse', colbert: 'colbert' };
const RULES = collectionRules(NAMES, { dense: DIMS, colbert: DIMS, sparse: true });

function target(connection: QdrantConnection, collection: string, extra: Partial<QdrantDestination> = {}) {
  return {
    connection,
    collection,
    destination: qdrantDestination(collection, extra),
    jobId: 'job-1',
    limits: { maxBytes: 20_000, maxPoints: 64 },
    concurrency: 4,
  };
}

async function prepared(connection: QdrantConnection, collection: string): Promise<void> {
  const plan = await checkCollection(connection, qdrantDestination(collection), RULES, 'job-1');
  assert.equal(await makeCollection(connection, plan, RULES), true);
}

function corpus(count: number, chunksOf: (i: number) => number = () => 1): SinkDocument[] {
  return Array.from({ length: count }, (_, i) =>
    sinkDocument(i % 3 === 0 ? String(i) : `doc-${i}`, i + 1, {
      dims: DIMS,
      rows: 1 + (i % 5),
      chunks: chunksOf(i),
      payload: { lang: i % 2 === 0 ? 'en' : 'de', i },
    }),
  );
}

const close = (got: ArrayLike<number>, want: ArrayLike<number>) => {
  assert.equal(got.length, want.length);
  for (let i = 0; i < want.length; i++)
    assert.ok(Math.abs(got[i]! - want[i]!) < 1e-6, `${got[i]} and ${want[i]}`);
};

/** Every document is there once, equal to what was to be written, and nothing else is. */
async function assertHolds(
  url: string,
  collection: string,
  documents: readonly SinkDocument[],
): Promise<void> {
  const found = await readAll(url, collection);
  assert.equal(
    found.size,
    documents.reduce((sum, { texts }) => sum + texts.length, 0),
  );
  for (const { id, texts, payload } of documents)
    for (const [i, text] of texts.entries()) {
      const point = found.get(`${id} ${i}`);
      assert.ok(point, `${id} ${i} is missing`);
      const { trivec, text: written, ...rest } = point.payload;
      assert.deepEqual(trivec, { id, job: 'job-1', chunk: i, point: i, points: texts.length });
      assert.equal(written, text.text);
      assert.deepEqual(rest, payload ?? {});
      close(point.vector.dense!, text.dense!);
      assert.deepEqual(point.vector.sparse!.indices, Array.from(text.sparse!.indices));
      close(point.vector.sparse!.values, text.sparse!.values);
      close(point.vector.colbert!.flat(), text.colbert!.data);
    }
}

testOnQdrant(
  'a corpus arrives whole, and writing it again changes nothing',
  async (_t, { connection, collection, url }) => {
    await prepared(connection, collection);
    const documents = corpus(400, (i) => 1 + (i % 7 === 0 ? 2 : 0));
    const points = documents.reduce((sum, { texts }) => sum + texts.length, 0);
    for (let round = 0; round < 2; round++) {
      const report = await writeDocuments(target(connection, collection), documents);
      assert.deepEqual(
        [report.documents, report.points, report.failed, report.retries, report.stalePoints],
        [400, points, [], 0, 0],
      );
      assert.ok(report.bytes > 100_000);
      await assertHolds(url, collection, documents);
    }
  },
  { grpc: true },
);

testOnQdrant(
  'a document with fewer chunks than before loses the old ones',
  async (_t, { connection, collection, url }) => {
    await prepared(connection, collection);
    await writeDocuments(
      target(connection, collection),
      corpus(20, () => 4),
    );
    const keep = await writeDocuments(
      target(connection, collection, { deleteStaleChunks: false }),
      corpus(10, () => 3),
    );
    assert.equal(keep.stalePoints, 0);
    assert.equal((await readAll(url, collection)).size, 80);
    await writeDocuments(
      target(connection, collection),
      corpus(20, () => 4),
    );
    const documents = corpus(20, (i) => 1 + (i % 4));
    const report = await writeDocuments(target(connection, collection), documents);
    assert.equal(report.stalePoints, 80 - report.points);
    await assertHolds(url, collection, documents);
  },
  { grpc: true },
);

testOnQdrant(
  'what Qdrant refuses fails alone',
  async (_t, { connection, collection, url }) => {
    await prepared(connection, collection);
    const documents = corpus(100);
    const bad = { ...sinkDocument('bad', 1, { dims: DIMS + 1, rows: 1 }) };
    const mixed = [...documents.slice(0, 37), bad, ...documents.slice(37)];
    const report = await writeDocuments(target(connection, collection), mixed);
    assert.deepEqual([report.documents, report.points], [100, 100]);
    assert.equal(report.failed.length, 1);
    assert.equal(report.failed[0]!.id, 'bad');
    assert.match(report.failed[0]!.message, /expected dim: 8, got 9/);
    await assertHolds(url, collection, documents);
  },
  { grpc: true },
);

testOnQdrant(
  'two documents that Qdrant would take for one: the second fails',
  async (_t, { connection, collection }) => {
    await prepared(connection, collection);
    const upper = sinkDocument('550E8400-E29B-41D4-A716-446655440000', 1, { dims: DIMS, rows: 1 });
    const lower = sinkDocument('550e8400-e29b-41d4-a716-446655440000', 2, { dims: DIMS, rows: 1 });
    const report = await writeDocuments(target(connection, collection), [upper, lower]);
    assert.equal(report.documents, 1);
    assert.equal(report.failed[0]!.id, lower.id);
  },
);

testOnQdrant(
  'a collection: made, found fitting, refused with both sides',
  async (_t, { connection, collection }) => {
    await prepared(connection, collection);
    const check = (extra: Partial<QdrantDestination>, rules = RULES) =>
      checkCollection(connection, qdrantDestination(collection, extra), rules, 'job-2');
    assert.deepEqual(await check({}), { action: 'use', collection });
    const larger = collectionRules(NAMES, { dense: 16, colbert: DIMS, sparse: true });
    await assert.rejects(check({}, larger), (error: unknown) => {
      assert.ok(error instanceof TrivecError && error.code === 'collection_conflict');
      assert.match(error.message, /the job sends 16 Cosine, the collection has 8 Cosine/);
      return true;
    });
    await assert.rejects(check({ ifExists: 'fail' }), /exists already/);
    // Made by someone else between the check and the making.
    assert.equal(await makeCollection(connection, { action: 'create', collection }, RULES), false);
    await assert.rejects(
      makeCollection(connection, { action: 'create', collection }, larger),
      /made by someone else/,
    );
  },
);

testOnQdrant('indexing is put off and restored', async (_t, { connection, collection }) => {
  await prepared(connection, collection);
  const m = await readHnswM(connection, collection);
  assert.equal(m, 16);
  await deferIndexing(connection, collection);
  assert.equal((await connection.collectionConfig(collection))?.hnsw_config.m, 0);
  await restoreIndexing(connection, collection, m);
  assert.equal((await connection.collectionConfig(collection))?.hnsw_config.m, 16);
});

testOnQdrant(
  'a replacement is built aside and swapped in, each step again harmless',
  async (_t, { connection, collection, url }) => {
    await prepared(connection, collection);
    await writeDocuments(target(connection, collection), corpus(5));
    for (const jobId of ['one', 'two']) {
      const plan = await checkCollection(
        connection,
        qdrantDestination(collection, { ifExists: 'replace' }),
        RULES,
        jobId,
      );
      assert.ok(plan.action === 'replace');
      await makeCollection(connection, plan, RULES);
      await makeCollection(connection, plan, RULES);
      const documents = corpus(jobId === 'one' ? 7 : 3);
      await writeDocuments(target(connection, plan.collection), documents);
      await swapAlias(connection, plan.alias, plan.collection);
      await swapAlias(connection, plan.alias, plan.collection);
      assert.equal(await connection.aliasTarget(collection), plan.collection);
      await assertHolds(url, collection, documents);
    }
    assert.equal(
      await connection.collectionConfig(`${collection}__trivec_one`),
      undefined,
      'the old one is gone',
    );
  },
  { grpc: true },
);

testOnQdrant(
  'replacements swapped in at once: one stands behind the alias, none is left over',
  async (_t, fixture) => {
    const { connection, collection, url } = fixture;
    const plans = ['one', 'two', 'three'].map((jobId) =>
      planCollection({ ...qdrantDestination(collection), ifExists: 'replace' }, RULES, undefined, jobId),
    );
    for (const plan of plans) await makeCollection(connection, plan, RULES);
    await Promise.all(plans.map((plan) => swapAlias(connection, collection, plan.collection)));
    const standing = await connection.aliasTarget(collection);
    // The others' last look may have been before the last swap: the next one is theirs again, after a redelivery.
    for (const plan of plans)
      if (plan.collection !== standing) await dropReplacement(connection, collection, plan.collection);
    await dropReplacement(connection, collection, standing!);
    const { result } = (await (await fetch(`${url}/collections`)).json()) as {
      result: { collections: { name: string }[] };
    };
    const left = result.collections.map(({ name }) => name).filter((name) => name.startsWith(collection));
    assert.deepEqual(left, [standing], 'what stands behind the alias is never dropped');
  },
);

testOnQdrant(
  'hybrid and re-ranked search find what was written',
  async (_t, { connection, collection }) => {
    await prepared(connection, collection);
    const documents = corpus(60);
    await writeDocuments(target(connection, collection), documents);
    const names = namesFrom((await connection.collectionConfig(collection))!);
    assert.deepEqual(names, NAMES);
    const wanted = documents[8]!;
    const vectors = { tokens: 5, ...wanted.texts[0] } as Parameters<typeof searchBody>[0];
    for (const mode of ['hybrid', 'dense', 'sparse', 'rerank'] as const) {
      const search = { mode, limit: 3, filter: { must: [{ key: 'lang', match: { value: 'en' } }] } };
      const points = await connection.query(collection, searchBody(vectors, names, search));
      const hits = readHits(points, search, vectors.colbert!.rows);
      assert.equal(hits.length, 3);
      assert.equal(hits[0]!.id, wanted.id, mode);
      assert.equal(hits[0]!.text, wanted.texts[0]!.text);
      assert.ok(hits.every((hit) => hit.payload.lang === 'en'));
      if (mode === 'dense' || mode === 'rerank')
        assert.ok(Math.abs(hits[0]!.score - 1) < 1e-5, `${mode} ${hits[0]!.score}`);
    }
  },
  { grpc: true },
);

// What follows needs faults, which only the double can have.

async function onDouble(t: test.TestContext, overrides: Parameters<typeof connectTo>[1] = {}) {
  const double = await QdrantDouble.start();
  const connection = connectTo(double.url, overrides);
  t.after(async () => {
    await connection.close();
    await double.close();
  });
  await prepared(connection, 'docs');
  double.requests.length = 0;
  return { double, connection };
}

const isUpsert = ({ method, path }: { method: string; path: string }) =>
  method === 'PUT' && path.endsWith('/points');

test('every kind of fault is survived, and each document is one point', async (t) => {
  const { double, connection } = await onDouble(t);
  double.fail(
    { when: isUpsert, kind: 'status', status: 429, retryAfter: '0' },
    { when: isUpsert, kind: 'reset' },
    { when: isUpsert, kind: 'reset', applied: true },
    { when: isUpsert, kind: 'half' },
    { when: isUpsert, kind: 'status', status: 503, times: 2 },
    { when: isUpsert, kind: 'status', status: 408 },
    { when: isUpsert, kind: 'lost' },
    { when: ({ path }) => path.endsWith('/delete'), kind: 'status', status: 500 },
  );
  await writeDocuments(
    { ...target(connection, 'docs'), jobId: 'job-0' },
    corpus(250, () => 2),
  );
  double.fail({ when: isUpsert, kind: 'lost', times: 3 });
  const documents = corpus(250);
  const report = await writeDocuments(target(connection, 'docs'), documents);
  assert.equal(report.documents, 250);
  assert.equal(report.stalePoints, 250);
  await assertHolds(double.url, 'docs', documents);
});

test('counts tell of retries and slow-downs, and metrics hear of them', async (t) => {
  const { double, connection } = await onDouble(t);
  double.fail({ when: isUpsert, kind: 'status', status: 429, times: 2 }, { when: isUpsert, kind: 'reset' });
  const heard = { points: 0, bytes: 0, retries: 0, slowDowns: 0 };
  const report = await writeDocuments(target(connection, 'docs'), corpus(50), {
    observer: {
      onWritten: (points, bytes) => {
        heard.points += points;
        heard.bytes += bytes;
      },
      onRetry: () => {
        heard.retries++;
      },
      onSlowDown: () => {
        heard.slowDowns++;
      },
    },
  });
  assert.deepEqual([report.retries, report.slowDowns], [3, 2]);
  assert.deepEqual(heard, { points: 50, bytes: report.bytes, retries: 3, slowDowns: 2 });
});

test('requests stay under their limits, in flight and in size; the last one is confirmed', async (t) => {
  const { double, connection } = await onDouble(t);
  double.fail({ when: isUpsert, kind: 'slow', ms: 5, times: 100 });
  await writeDocuments(target(connection, 'docs'), corpus(600));
  const upserts = double.requests.filter(isUpsert);
  assert.ok(upserts.length >= 10);
  assert.ok(double.maxInFlight > 1 && double.maxInFlight <= 4, String(double.maxInFlight));
  for (const { bytes } of upserts) assert.ok(bytes <= 20_000);
});

test('a server that asks for patience gets fewer requests at once', async (t) => {
  const { double, connection } = await onDouble(t);
  double.fail({ when: isUpsert, kind: 'status', status: 429, times: 3 });
  await writeDocuments(target(connection, 'docs'), corpus(5));
  assert.ok(connection.requestsInFlightLimit < 4);
});

test('a server that is down is `sink_unavailable`; back again, the same work is done', async (t) => {
  const { double, connection } = await onDouble(t, { retries: 2 });
  const documents = corpus(30);
  await double.down();
  const unavailable = (error: unknown) =>
    error instanceof TrivecError && error.code === 'sink_unavailable' && error.retryable;
  await assert.rejects(writeDocuments(target(connection, 'docs'), documents), unavailable);
  await assert.rejects(checkCollection(connection, qdrantDestination('docs'), RULES, 'j'), unavailable);
  await double.up();
  assert.equal((await writeDocuments(target(connection, 'docs'), documents)).documents, 30);
  await assertHolds(double.url, 'docs', documents);
});

test('a server that does not answer in time is asked again', async (t) => {
  const { double, connection } = await onDouble(t, { timeoutMs: 100 });
  double.fail({ when: isUpsert, kind: 'slow', ms: 400 });
  const report = await writeDocuments(target(connection, 'docs'), corpus(3));
  assert.deepEqual([report.documents, report.retries, report.slowDowns], [3, 1, 1]);
});

test('a refused key or a missing collection is not blamed on documents', async (t) => {
  const double = await QdrantDouble.start({ apiKey: 'right' });
  const [wrong, right] = [
    connectTo(double.url, { apiKey: 'wrong' }),
    connectTo(double.url, { apiKey: 'right' }),
  ];
  t.after(async () => {
    await wrong.close();
    await right.close();
    await double.close();
  });
  const rejected = (pattern: RegExp) => (error: unknown) =>
    error instanceof TrivecError && error.code === 'sink_rejected' && pattern.test(error.message);
  await assert.rejects(
    checkCollection(wrong, qdrantDestination('docs'), RULES, 'j'),
    rejected(/401.*API key/),
  );
  await prepared(right, 'docs');
  await assert.rejects(writeDocuments(target(wrong, 'docs'), corpus(3)), rejected(/401/));
  await right.deleteCollection('docs');
  await assert.rejects(writeDocuments(target(right, 'docs'), corpus(3)), rejected(/404.*doesn't exist/));
});

test('a batch limit of the server is found by halving', async (t) => {
  const { double, connection } = await onDouble(t);
  double.fail({
    when: (request) =>
      isUpsert(request) && (JSON.parse(request.body) as { points: unknown[] }).points.length > 10,
    kind: 'status',
    status: 400,
    message: 'Bad request: Upsert limit exceeded',
    times: 1000,
  });
  const documents = corpus(64);
  const report = await writeDocuments(target(connection, 'docs'), documents);
  assert.deepEqual([report.documents, report.failed], [64, []]);
  await assertHolds(double.url, 'docs', documents);
});

test('cancelling ends the writing at once, also while the server is away', async (t) => {
  const { double, connection } = await onDouble(t, { retries: 1000, retryDelayMs: 10 });
  await double.down();
  const cancelled = new AbortController();
  const writing = writeDocuments(target(connection, 'docs'), corpus(3), { signal: cancelled.signal });
  setTimeout(() => cancelled.abort(new TrivecError('cancelled', 'The job was cancelled.')), 50);
  await assert.rejects(
    writing,
    (error: unknown) => error instanceof TrivecError && error.code === 'cancelled',
  );
});

test('a point that no request can hold fails alone', async (t) => {
  const { double, connection } = await onDouble(t);
  const huge = {
    ...sinkDocument('huge', 1, { dims: DIMS, rows: 1 }),
    payload: { x: 'x'.repeat(33 * 2 ** 20) },
  };
  const report = await writeDocuments(target(connection, 'docs'), [...corpus(2), huge]);
  assert.equal(report.documents, 2);
  assert.match(report.failed[0]!.message, /does not fit into one request/);
  assert.equal(double.points('docs').length, 2);
});

test('the body of a creation is what the double keeps', async (t) => {
  const { connection } = await onDouble(t);
  const config = await connection.collectionConfig('docs');
  assert.deepEqual(config?.params.vectors, createBody(RULES).vectors);
});
