import assert from 'node:assert/strict';
import test from 'node:test';
import { TrivecError } from '../../../packages/core/src/errors.ts';
import { namesFrom, readHits, searchBody } from '../../../packages/core/src/sinks/qdrant/search.ts';

const NAMES = { dense: 'd', sparse: 's', colbert: 'c' };
const VECTORS = {
  tokens: 3,
  dense: Float32Array.of(0.5, 0.25),
  sparse: { indices: Uint32Array.of(3, 9), values: Float32Array.of(0.5, 1) },
  colbert: { rows: 2, dims: 2, data: Float32Array.of(1, 0.5, 0.5, 0.25) },
};
const filter = { must: [{ key: 'lang', match: { value: 'en' } }] };
const DENSE = { query: [0.5, 0.25], using: 'd' };
const SPARSE = { query: { indices: [3, 9], values: [0.5, 1] }, using: 's' };

test('one kind of vector', () => {
  assert.deepEqual(searchBody(VECTORS, NAMES, { mode: 'dense', limit: 5 }), {
    ...DENSE,
    limit: 15,
    with_payload: true,
  });
  assert.deepEqual(searchBody(VECTORS, NAMES, { mode: 'sparse', limit: 5, filter }), {
    ...SPARSE,
    limit: 15,
    with_payload: true,
    filter,
  });
});

test('hybrid fuses, rerank orders the fused by late interaction, and the filter holds everywhere', () => {
  const prefetch = [
    { ...DENSE, limit: 100, filter },
    { ...SPARSE, limit: 100, filter },
  ];
  assert.deepEqual(searchBody(VECTORS, NAMES, { mode: 'hybrid', limit: 5, filter }), {
    prefetch,
    query: { fusion: 'rrf' },
    limit: 15,
    with_payload: true,
    filter,
  });
  assert.deepEqual(searchBody(VECTORS, NAMES, { mode: 'rerank', limit: 200, filter }), {
    prefetch: {
      prefetch: prefetch.map((inner) => ({ ...inner, limit: 210 })),
      query: { fusion: 'rrf' },
      limit: 210,
      filter,
    },
    query: [
      [1, 0.5],
      [0.5, 0.25],
    ],
    using: 'c',
    limit: 210,
    with_payload: true,
    filter,
  });
});

test('hybrid does with the kinds that are there; a missing one that was asked for is an error', () => {
  const body = searchBody(VECTORS, { sparse: 's' }, { mode: 'hybrid', limit: 1 });
  assert.deepEqual(body.prefetch, [{ ...SPARSE, limit: 100 }]);
  for (const mode of ['dense', 'rerank'] as const)
    assert.throws(
      () => searchBody(VECTORS, { sparse: 's' }, { mode, limit: 1 }),
      (error: unknown) => error instanceof TrivecError && error.param === 'mode',
    );
});

test('a query of too many ColBERT rows is refused with the limit', () => {
  const colbert = { rows: 17, dims: 65_536, data: new Float32Array(17 * 65_536) };
  assert.throws(
    () => searchBody({ ...VECTORS, colbert }, NAMES, { mode: 'rerank', limit: 1 }),
    (error: unknown) =>
      error instanceof TrivecError && error.code === 'text_too_long' && /at most 15/.test(error.message),
  );
});

test('hits carry the document, and one text that is several points is one hit', () => {
  const origin = (id: string, chunk: number, point: number) => ({ id, job: 'j', chunk, point, points: 3 });
  const points = [
    { id: 'u1', score: 6, payload: { lang: 'en', text: 'one', trivec: origin('a', 0, 1) } },
    { id: 'u0', score: 5, payload: { lang: 'en', text: 'one', trivec: origin('a', 0, 0) } },
    { id: 'u2', score: 4, payload: { lang: 'en', text: 'two', trivec: origin('a', 1, 2) } },
    { id: 7, score: 3, payload: null },
    { id: 8, score: 2 },
  ];
  assert.deepEqual(readHits(points, { mode: 'rerank', limit: 3 }, 2), [
    { id: 'a', chunk: 0, score: 3, text: 'one', payload: { lang: 'en' } },
    { id: 'a', chunk: 1, score: 2, text: 'two', payload: { lang: 'en' } },
    { id: 7, chunk: 0, score: 1.5, text: null, payload: {} },
  ]);
  assert.equal(readHits(points, { mode: 'hybrid', limit: 1 }, 2)[0]!.score, 6);
});

test("a collection's vector names are found by their kind", () => {
  const config = (params: object) => ({ params }) as Parameters<typeof namesFrom>[0];
  const multi = { size: 4, distance: 'Cosine', multivector_config: { comparator: 'max_sim' } };
  const plain = { size: 4, distance: 'Cosine' };
  assert.deepEqual(namesFrom(config({ vectors: { v: plain, late: multi }, sparse_vectors: { lex: {} } })), {
    dense: 'v',
    sparse: 'lex',
    colbert: 'late',
  });
  assert.deepEqual(namesFrom(config({ vectors: plain })), { dense: '' });
  assert.deepEqual(namesFrom(config({ vectors: { a: plain, dense: plain } })), { dense: 'dense' });
  assert.deepEqual(namesFrom(config({ vectors: { a: plain, b: plain } })), {});
});
