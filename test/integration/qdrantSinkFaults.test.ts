import assert from 'node:assert/strict';
import test from 'node:test';
import { TrivecError } from '../../packages/core/src/errors.ts';
import { createBody } from '../../packages/core/src/sinks/qdrant/collection.ts';
import { checkCollection } from '../../packages/core/src/sinks/qdrant/lifecycle.ts';
import { writeDocuments } from '../../packages/core/src/sinks/qdrant/writer.ts';
import { QdrantDouble } from '../support/qdrantDouble.ts';
import { connectTo } from '../support/qdrantServers.ts';
import { assertHolds, corpus, DIMS, prepared, RULES, target } from '../support/qdrantTarget.ts';
import { qdrantDestination, sinkDocument } from '../support/sinkDocuments.ts';

/** What goes wrong on the way; such faults only the double can have. */

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
