import assert from 'node:assert/strict';
import test from 'node:test';
import { arrowStream, emptyColumns, readArrowStream } from '@trivec/core/vectors/arrow';
import { columnsOf } from '@trivec/core/vectors/resultColumns';
import { colbertScore, denseScore, mixedScore, sparseScore } from '@trivec/core/vectors/scores';
import type { Output, TextVectors } from '@trivec/core/vectors/types';
import fc from 'fast-check';
import { pairedBootstrap } from '../../../bench/quality/bootstrap.ts';
import { reciprocalRankFusion } from '../../../bench/quality/fusion.ts';
import { rankingOf, type Scored } from '../../../bench/quality/metrics.ts';
import { DEPTH, scoreRuns } from '../../../bench/quality/scoring.ts';

const OUTPUTS = ['dense', 'sparse', 'colbert'] as const;
const DIMS = { dense: 2, colbert: 2 };

/** Coarse numbers: float16 holds them exactly. */
function vectorsOf(seed: number): TextVectors {
  const number = (i: number) => (((seed * 37 + i * 11) % 17) - 8) / 8;
  const rows = 1 + (seed % 3);
  return {
    tokens: rows + 1,
    dense: Float32Array.of(number(1), number(2)),
    sparse: {
      indices: Uint32Array.of(seed % 5, 5 + (seed % 3)),
      values: Float32Array.of(0.5 + (seed % 4), 0.25 + (seed % 7)),
    },
    colbert: { rows, dims: 2, data: Float32Array.from({ length: rows * 2 }, (_, i) => number(i)) },
  };
}

/** The bytes of a job's results, in shards of 40 rows, cut where a network might cut them. */
async function* body(documents: readonly TextVectors[]): AsyncGenerator<Uint8Array> {
  const shards = async function* () {
    for (let at = 0; at < documents.length; at += 40) {
      const rows = documents
        .slice(at, at + 40)
        .map((vectors, i) => ({ id: `d${at + i}`, chunk: 0, vectors }));
      yield await columnsOf(rows, OUTPUTS, DIMS);
    }
  };
  for await (const bytes of arrowStream(shards(), emptyColumns(OUTPUTS, DIMS)))
    for (let at = 0; at < bytes.length; at += 1001) yield bytes.slice(at, at + 1001);
}

function best(scored: Scored[], count: number): Scored[] {
  return scored.sort((a, b) => b.score - a.score).slice(0, count);
}

const scoresOf = (list: readonly Scored[]) => list.map(({ score }) => score).sort((a, b) => b - a);

test('runs from a stream of shards are those of all vectors at hand', async () => {
  const documents = Array.from({ length: 230 }, (_, i) => vectorsOf(i + 1));
  const queries = new Map([
    ['a', vectorsOf(1000)],
    ['b', vectorsOf(1003)],
  ]);
  const runs = await scoreRuns(() => readArrowStream(body(documents)), queries, OUTPUTS);
  assert.deepEqual([...runs.keys()].sort(), [
    'colbert',
    'dense',
    'mixed',
    'rrf all',
    'rrf dense+sparse',
    'sparse',
  ]);
  const at = (id: string) => documents[Number(id.slice(1))]!;
  for (const [query, asked] of queries) {
    const all = (score: (document: TextVectors) => number) =>
      documents.map((document, i) => ({ id: `d${i}`, score: score(document) }));
    const dense = runs.get('dense')!.get(query)!;
    assert.equal(dense.length, DEPTH);
    assert.deepEqual(
      scoresOf(dense),
      scoresOf(
        best(
          all((document) => denseScore(asked.dense!, document.dense!)),
          DEPTH,
        ),
      ),
    );
    const sparse = runs.get('sparse')!.get(query)!;
    const found = all((document) => sparseScore(asked.sparse!, document.sparse!)).filter(
      ({ score }) => score > 0,
    );
    assert.deepEqual(scoresOf(sparse), scoresOf(best(found, DEPTH)));
    const colbert = runs.get('colbert')!.get(query)!;
    assert.deepEqual(colbert.map(({ id }) => id).sort(), dense.map(({ id }) => id).sort());
    for (const { id, score } of colbert)
      assert.equal(score, colbertScore(asked.colbert!, at(id).colbert!), `colbert of ${id}`);
    const mixed = runs.get('mixed')!.get(query)!;
    assert.deepEqual(new Set(mixed.map(({ id }) => id)), new Set([...dense, ...sparse].map(({ id }) => id)));
    for (const { id, score } of mixed) {
      const parts = {
        dense: denseScore(asked.dense!, at(id).dense!),
        sparse: sparseScore(asked.sparse!, at(id).sparse!),
        colbert: colbertScore(asked.colbert!, at(id).colbert!),
      };
      assert.equal(score, mixedScore(parts), `mixed of ${id}`);
    }
    assert.deepEqual(runs.get('rrf all')!.get(query), reciprocalRankFusion([dense, sparse, colbert]));
  }
});

test('a model with fewer outputs has fewer runs', async () => {
  const documents = [vectorsOf(1), vectorsOf(2)];
  const names = async (outputs: readonly Output[]) => [
    ...(
      await scoreRuns(() => readArrowStream(body(documents)), new Map([['q', vectorsOf(3)]]), outputs)
    ).keys(),
  ];
  assert.deepEqual(await names(['dense']), ['dense']);
  assert.deepEqual(await names(['colbert']), ['colbert']);
  assert.deepEqual((await names(['dense', 'sparse'])).sort(), [
    'dense',
    'mixed',
    'rrf dense+sparse',
    'sparse',
  ]);
  assert.deepEqual((await names(['dense', 'colbert'])).sort(), ['colbert', 'dense', 'mixed']);
});

test('reciprocal rank fusion: ranks count, not scores; a document that a list lacks gets nothing from it', () => {
  const fused = reciprocalRankFusion([
    [
      { id: 'x', score: 9 },
      { id: 'y', score: 1 },
    ],
    [{ id: 'y', score: 0.1 }],
  ]);
  assert.deepEqual(rankingOf(fused), ['y', 'x']);
  assert.deepEqual(new Map(fused.map(({ id, score }) => [id, score])).get('y'), 1 / 62 + 1 / 61);
});

test('the bootstrap: the same interval for the same seed, around the mean, as wide as normal theory says', () => {
  const differences = Array.from({ length: 400 }, (_, i) => (i % 2 === 0 ? 0.3 : -0.1));
  const interval = pairedBootstrap(differences);
  assert.deepEqual(pairedBootstrap(differences), interval);
  assert.ok(Math.abs(interval.mean - 0.1) < 1e-12);
  const halfWidth = (1.96 * 0.2) / Math.sqrt(400);
  assert.ok(Math.abs(interval.low - (0.1 - halfWidth)) < 0.002, `low ${interval.low}`);
  assert.ok(Math.abs(interval.high - (0.1 + halfWidth)) < 0.002, `high ${interval.high}`);
});

test('the bootstrap of any differences encloses nothing that they do not reach', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 1, maxLength: 30 }),
      (all) => {
        const { low, high } = pairedBootstrap(all, { samples: 100, level: 0.9, seed: 7 });
        assert.ok(low >= Math.min(...all) - 1e-12 && high <= Math.max(...all) + 1e-12 && low <= high);
      },
    ),
    { numRuns: 50 },
  );
});
