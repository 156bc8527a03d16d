import assert from 'node:assert/strict';
import type { QdrantConnection } from '../../packages/core/src/sinks/qdrant/client.ts';
import { collectionRules } from '../../packages/core/src/sinks/qdrant/collection.ts';
import type { QdrantDestination } from '../../packages/core/src/sinks/qdrant/destination.ts';
import { checkCollection, makeCollection } from '../../packages/core/src/sinks/qdrant/lifecycle.ts';
import type { SinkDocument } from '../../packages/core/src/sinks/qdrant/points.ts';
import { readAll } from './qdrantServers.ts';
import { qdrantDestination, sinkDocument } from './sinkDocuments.ts';

export const DIMS = 8;
export const NAMES = { dense: 'dense', sparse: 'sparse', colbert: 'colbert' };
export const RULES = collectionRules(NAMES, { dense: DIMS, colbert: DIMS, sparse: true });

export function target(
  connection: QdrantConnection,
  collection: string,
  extra: Partial<QdrantDestination> = {},
) {
  return {
    connection,
    collection,
    destination: qdrantDestination(collection, extra),
    jobId: 'job-1',
    limits: { maxBytes: 20_000, maxPoints: 64 },
    concurrency: 4,
  };
}

export async function prepared(connection: QdrantConnection, collection: string): Promise<void> {
  const plan = await checkCollection(connection, qdrantDestination(collection), RULES, 'job-1');
  assert.equal(await makeCollection(connection, plan, RULES), true);
}

export function corpus(count: number, chunksOf: (i: number) => number = () => 1): SinkDocument[] {
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
export async function assertHolds(
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
