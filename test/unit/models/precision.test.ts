import assert from 'node:assert/strict';
import test from 'node:test';
import { agreement, comparePrecision } from '@trivec/core/models/precision';
import type { TextVectors } from '@trivec/core/vectors/types';
import fc from 'fast-check';

const near = (actual: number | undefined, wanted: number) =>
  assert.ok(actual !== undefined && Math.abs(actual - wanted) < 1e-6, `${actual} instead of ${wanted}`);

function text(dense: number[], weights: Record<number, number>, rows: number[][]): TextVectors {
  return {
    tokens: rows.length + 1,
    dense: Float32Array.from(dense),
    sparse: {
      indices: Uint32Array.from(Object.keys(weights), Number),
      values: Float32Array.from(Object.values(weights)),
    },
    colbert: { rows: rows.length, dims: 2, data: Float32Array.from(rows.flat()) },
  };
}

const REFERENCE = [
  text([1, 0], { 5: 0.5, 9: 0.25 }, [[1, 0]]),
  text([0, 1], { 5: 0.1 }, [[0.6, 0.8]]),
  text([0, 1], {}, [[0, 1]]),
];

test('the same vectors agree in everything', () => {
  const { texts, dense, sparse, colbert } = comparePrecision(REFERENCE, REFERENCE);
  assert.equal(texts, 3);
  assert.deepEqual(dense, { minCosine: 1, meanCosine: 1 });
  assert.deepEqual(sparse, { maxError: 0, meanError: 0, rankAgreement: 1 });
  assert.deepEqual(colbert, { maxError: 0, meanError: 0, rankAgreement: 1 });
});

test('cosines, weights over the union of tokens, and ColBERT scores against every other text', () => {
  const found = [
    // Length does not count. Token 9 now goes before 5, and 7 is new.
    text([6, 8], { 5: 0.5, 7: 0.1, 9: 0.75 }, [[0, 1]]),
    REFERENCE[1]!,
    REFERENCE[2]!,
  ];
  const { dense, sparse, colbert } = comparePrecision(REFERENCE, found);
  near(dense?.minCosine, 0.6);
  near(dense?.meanCosine, 2.6 / 3);
  near(sparse?.maxError, 0.5);
  near(sparse?.meanError, (0 + 0.1 + 0.5 + 0) / 4);
  // Of three pairs of text 0 only (5, 7) stays as it was, and (9, 7).
  near(sparse?.rankAgreement, 2 / 3);
  // Text 0 scored 0.6 and 0, now 0.8 and 1; text 2 scored 0 and 0.8, now 1 and 0.8; text 1 keeps 0.8 and gains 0.2.
  near(colbert?.maxError, 1);
  near(colbert?.meanError, (0.2 + 1 + 0.2 + 0 + 1 + 0) / 6);
  near(colbert?.rankAgreement, (0 + 0.5 + 0) / 3);
});

test('an output that one side lacks is left out, and so is everything of no texts', () => {
  const { sparse: _, ...without } = REFERENCE[0]!;
  assert.deepEqual(Object.keys(comparePrecision([REFERENCE[0]!], [without])), ['texts', 'dense', 'colbert']);
  assert.deepEqual(comparePrecision([], []), { texts: 0 });
});

test('rank agreement is 1 for any increasing change, 0 for the reversed order, one half where all became equal', () => {
  const scores = fc.uniqueArray(fc.integer({ min: -1000, max: 1000 }), { minLength: 2, maxLength: 20 });
  fc.assert(
    fc.property(scores, (reference) => {
      const ranksOf = (found: number[]) => agreement([[reference, found]]).rankAgreement;
      assert.equal(ranksOf(reference.map((score) => 3 * score + 1)), 1);
      assert.equal(ranksOf(reference.map((score) => -score)), 0);
      assert.equal(ranksOf(reference.map(() => 7)), 0.5);
    }),
  );
});
