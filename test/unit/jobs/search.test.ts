import assert from 'node:assert/strict';
import test from 'node:test';
import { FULL_COLBERT_ROWS } from '@trivec/core/jobs/search';
import type { SearchMode, SearchQuery } from '@trivec/core/jobs/serviceTypes';
import { TopRows } from '@trivec/core/jobs/topRows';
import { colbertScore, denseScore, mixedScore, sparseScore } from '@trivec/core/vectors/scores';
import { OUTPUTS, type Output, type TextVectors } from '@trivec/core/vectors/types';
import fc from 'fast-check';
import { ANYONE, documents, jobRig } from '../../support/jobRig.ts';

type Rig = ReturnType<typeof jobRig>;

async function vectorsOf(rig: Rig, text: string): Promise<TextVectors> {
  const encoded = await rig.engine.encode([text]);
  const { vectors } = await rig.engine.embed(encoded, { outputs: OUTPUTS, lane: 'interactive' });
  return vectors[0] as TextVectors;
}

async function searchable(count: number, outputs: Output[], config = {}) {
  const rig = jobRig(config);
  const words = ['a', 'bb', 'ccc', 'dddd', 'eeeee', 'ffffff'];
  const text = (i: number) => [1, 7, 31].map((step) => words[(i * step + (i >> 3)) % words.length]).join(' ');
  const texts = Array.from({ length: count }, (_, i) => ({ id: `d${i}`, text: text(i), payload: { i } }));
  const job = await rig.submit(texts, { outputs });
  await rig.drain();
  const vectors = await vectorsOf(rig, 'bb dddd');
  const search = (mode: SearchMode, more: Partial<SearchQuery> = {}) =>
    rig.service.search(job.id, ANYONE, { vectors, mode, limit: 5, ...more });
  return { rig, job, texts, vectors, search };
}

test('each mode finds what scoring every document by hand finds, with text and payload', async () => {
  const { rig, texts, vectors, search } = await searchable(50, [...OUTPUTS]);
  for (const mode of ['dense', 'sparse', 'colbert', 'hybrid'] as const) {
    const expected = await Promise.all(
      texts.map(async ({ id, text }) => {
        const other = await vectorsOf(rig, text);
        const matrix = { ...other.colbert!, data: Float32Array.from(other.colbert!.data, Math.f16round) };
        const scores = {
          dense: denseScore(vectors.dense!, other.dense!),
          sparse: sparseScore(vectors.sparse!, other.sparse!),
          colbert: colbertScore(vectors.colbert!, matrix),
        };
        return { id, score: mode === 'hybrid' ? mixedScore(scores) : scores[mode] };
      }),
    );
    expected.sort((a, b) => b.score - a.score);
    const { hits, scanned, notes } = await search(mode);
    assert.equal(scanned, 50);
    assert.deepEqual(notes, []);
    hits.forEach((hit, i) => {
      assert.ok(Math.abs(hit.score - expected[i]!.score) < 1e-9, mode);
      assert.ok(Math.abs(hit.score - expected.find(({ id }) => id === hit.id)!.score) < 1e-9);
      const original = texts.find(({ id }) => id === hit.id)!;
      assert.equal(hit.text, original.text);
      assert.deepEqual(hit.payload, original.payload);
    });
  }
});

test('an explanation adds up to the scores', async () => {
  const { search } = await searchable(30, [...OUTPUTS]);
  const tokenIds = [0, 12, 14, 2];
  const { hits, weights } = await search('hybrid', { explain: true, tokenIds });
  assert.deepEqual(weights, { dense: 0.4, sparse: 0.2, colbert: 0.4 });
  for (const { explanation, scores } of hits) {
    const sparse = explanation!.sparse!;
    const sum = sparse.reduce((total, { product }) => total + product, 0);
    assert.ok(Math.abs(sum - scores.sparse!) < 1e-9);
    const colbert = explanation!.colbert!;
    const mean = colbert.reduce((total, { similarity }) => total + similarity, 0) / colbert.length;
    assert.ok(Math.abs(mean - scores.colbert!) < 1e-9);
    assert.deepEqual(
      colbert.map(({ queryTokenId }) => queryTokenId),
      [12, 14, 2],
    );
  }
});

test('hybrid goes without what the job does not have, and says so; a single mode refuses', async () => {
  const { search } = await searchable(10, ['dense', 'sparse']);
  const { weights, notes, hits } = await search('hybrid');
  assert.deepEqual(weights, { dense: 0.4, sparse: 0.2 });
  assert.match(notes[0]!, /^colbert did not take part/);
  assert.equal(hits.length, 5);
  await assert.rejects(search('colbert'), {
    code: 'invalid_request',
    param: 'mode',
    message: /dense, sparse/,
  });
});

test('in a large job ColBERT re-ranks the best of dense, and says so', async () => {
  const count = FULL_COLBERT_ROWS + 1;
  const { search } = await searchable(count, [...OUTPUTS], { shardMaxDocuments: 300, maxJobDocuments: 5000 });
  const { hits, scanned, notes } = await search('colbert');
  assert.equal(scanned, count);
  assert.match(notes[0]!, /re-ranked the best 100 by dense/);
  const dense = new Set((await search('dense', { limit: 100 })).hits.map(({ id }) => id));
  assert.ok(hits.every(({ id, score, scores }) => dense.has(id) && score === scores.colbert));
  assert.deepEqual(
    hits.map(({ score }) => score),
    hits.map(({ score }) => score).sort((a, b) => b - a),
  );
});

test('a search sees what is stored so far and stops when its client leaves', async () => {
  const rig = jobRig();
  const job = await rig.submit(documents(12));
  await rig.run({ jobId: job.id, ordinal: 2 });
  const vectors = await vectorsOf(rig, 'word');
  const { hits, scanned } = await rig.service.search(job.id, ANYONE, { vectors, mode: 'dense', limit: 50 });
  assert.equal(scanned, 4);
  assert.equal(hits.length, 4);
  const signal = AbortSignal.abort(new Error('client left'));
  await assert.rejects(
    rig.service.search(job.id, ANYONE, { vectors, mode: 'dense', limit: 5, signal }),
    /client left/,
  );
});

test('the top rows are those of a sort, equal ones in order of arrival', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(9)), fc.integer({ min: 1, max: 8 }), (scores, limit) => {
      const top = new TopRows<number>(limit);
      for (const [i, score] of scores.entries()) top.offer(score, i);
      const expected = scores
        .map((score, value) => ({ score, value }))
        .sort((a, b) => b.score - a.score || a.value - b.value)
        .slice(0, limit);
      assert.deepEqual(top.best(), expected);
    }),
  );
});
