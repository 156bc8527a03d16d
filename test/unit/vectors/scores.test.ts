import assert from 'node:assert/strict';
import test from 'node:test';
import {
  colbertScore,
  denseScore,
  maxSimilarities,
  mixedScore,
  outputScores,
  sparseScore,
} from '@trivec/core/vectors/scores';
import type { SparseVector, TokenMatrix } from '@trivec/core/vectors/types';
import fc from 'fast-check';

const matrix = (rows: number[][]): TokenMatrix => ({
  rows: rows.length,
  dims: rows[0]?.length ?? 2,
  data: Float32Array.from(rows.flat()),
});
const sparse = (weights: Record<number, number>): SparseVector => ({
  indices: Uint32Array.from(Object.keys(weights), Number),
  values: Float32Array.from(Object.values(weights)),
});

test('sparse scores sum over shared token ids', () => {
  const first = sparse({ 4865: 0.0836208, 83: 0.0814696, 335: 0.1296464, 11679: 0.2518699 });
  assert.ok(Math.abs(sparseScore(first, sparse({ 335: 0.5, 11679: 0.25, 99999: 3 })) - 0.127790675) < 1e-7);
  assert.equal(sparseScore(first, sparse({ 1: 1 })), 0);
});

test('sparse scores are those of dictionaries', () => {
  const weights = fc.dictionary(fc.nat(30).map(String), fc.float({ min: 0, max: 1, noNaN: true }));
  fc.assert(
    fc.property(weights, weights, (a, b) => {
      const expected = Object.entries(a).reduce((sum, [id, weight]) => sum + weight * (b[id] ?? 0), 0);
      assert.ok(Math.abs(sparseScore(sparse(a), sparse(b)) - expected) < 1e-6);
    }),
  );
});

test('colbert is the mean over the query of the best document row', () => {
  const query = matrix([
    [1, 0],
    [0, 1],
  ]);
  const document = matrix([
    [0.6, 0.8],
    [1, 0],
    [0, -1],
  ]);
  assert.ok(Math.abs(colbertScore(query, document) - (1 + 0.8) / 2) < 1e-7);
  assert.deepEqual(
    maxSimilarities(query, document).map(({ row }) => row),
    [1, 0],
  );
  assert.equal(colbertScore(query, matrix([])), 0);
  assert.equal(colbertScore(matrix([]), document), 0);
});

test('colbert of dimensions that are no multiple of four', () => {
  const row = fc.array(fc.float({ min: -1, max: 1, noNaN: true }), { minLength: 7, maxLength: 7 });
  const rows = fc.array(row, { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(rows, rows, (q, d) => {
      const dot = (a: number[], b: number[]) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
      const expected = q.reduce((sum, a) => sum + Math.max(...d.map((b) => dot(a, b))), 0) / q.length;
      assert.ok(Math.abs(colbertScore(matrix(q), matrix(d)) - expected) < 1e-6);
    }),
  );
});

test('mixed scores divide by the weights of what took part: the published pair of BGE-M3', () => {
  const scores = { dense: 0.6259765625, sparse: 0.195556640625, colbert: 0.7796499729 };
  assert.ok(Math.abs(mixedScore(scores) - 0.6013619304) < 1e-4);
  const { colbert, ...two } = scores;
  assert.ok(Math.abs(mixedScore(two) - 0.4825032055) < 1e-4);
  assert.equal(mixedScore({ colbert }), colbert);
  assert.equal(mixedScore({}), 0);
});

test('only wanted outputs that both texts have are scored', () => {
  const query = { tokens: 2, dense: Float32Array.of(1, 0), sparse: sparse({ 1: 1 }) };
  const document = { tokens: 2, dense: Float32Array.of(0.5, 0.5) };
  assert.deepEqual(outputScores(query, document, ['dense', 'sparse']), { dense: 0.5 });
  assert.deepEqual(outputScores(query, document, ['sparse']), {});
  assert.equal(denseScore(Float32Array.of(1, 2, 3), Float32Array.of(3, 2, 1)), 10);
});
