import assert from 'node:assert/strict';
import test from 'node:test';
import { announcement, apiRig, assertError } from '../../support/apiRig.ts';
import { FAKE_MODEL, POISON } from '../../support/fakeEngine.ts';

const documents = ['xx', 'a bbb', 'a', 'cccc dddd'];

test('rerank by the vectors of an embedding model, the best first, with what the score is made of', async (t) => {
  const { post } = await apiRig(t);
  const body = { query: 'a bbb', documents, returnDocuments: true };
  const { results, model, usage } = (await post('/rerank', body)).json();
  assert.equal(model, 'fake');
  assert.ok(usage.total_tokens > 0);
  assert.deepEqual(results.map(({ index }: { index: number }) => index).sort(), [0, 1, 2, 3]);
  for (const { index, score, scores, document } of results) {
    assert.equal(document, documents[index]);
    const mixed = 0.4 * scores.dense + 0.2 * scores.sparse + 0.4 * scores.colbert;
    assert.ok(Math.abs(score - mixed) < 1e-9);
  }
  const scores = results.map(({ score }: { score: number }) => score);
  assert.deepEqual(
    scores,
    [...scores].sort((a, b) => b - a),
  );
  const best = (await post('/rerank', { query: 'a bbb', documents, topN: 1 })).json().results;
  assert.deepEqual(best, [{ index: results[0].index, score: results[0].score, scores: results[0].scores }]);
});

test('scores of pairs by one output, or by weights', async (t) => {
  const { post } = await apiRig(t);
  const pairs = [
    ['a bbb', 'a'],
    ['a', 'cc'],
  ];
  const all = (await post('/score', { pairs })).json().scores;
  for (const mode of ['dense', 'sparse', 'colbert']) {
    const one = (await post('/score', { pairs, mode })).json().scores;
    for (const [i, { score, scores }] of one.entries()) {
      assert.deepEqual(Object.keys(scores), [mode]);
      assert.equal(score, all[i].scores[mode]);
    }
  }
  const weighed = (await post('/score', { pairs, weights: { dense: 1, sparse: 3 } })).json().scores;
  const [{ score, scores }] = weighed;
  assert.ok(Math.abs(score - (scores.dense + 3 * scores.sparse) / 4) < 1e-9);
});

test('a reranker is taken where one is served, and has one score', async (t) => {
  const reranker = { ...FAKE_MODEL, kind: 'reranker' as const, name: 'ranker', outputs: [] };
  const { post, engine } = await apiRig(t, { workers: [announcement(reranker)], env: { MODEL: 'ranker' } });
  Object.assign(engine.model, reranker);
  t.after(() => Object.assign(engine.model, FAKE_MODEL));
  const raw = (await post('/rerank', { query: 'a', documents: ['a', 'bbb'] })).json();
  assert.equal(raw.model, 'ranker');
  assert.deepEqual(raw.results[0].scores, {});
  const between = (await post('/rerank', { query: 'a', documents: ['a', 'bbb'], normalize: true })).json();
  const sigmoid = 1 / (1 + Math.exp(-raw.results[0].score));
  assert.ok(Math.abs(between.results[0].score - sigmoid) < 1e-12);
  assertError(
    await post('/rerank', { query: 'a', documents: ['a'], mode: 'dense' }),
    400,
    'invalid_request',
    /ranker is a reranker: it has one score/,
    'mode',
  );
  assertError(
    await post('/embeddings', { input: 'a' }),
    400,
    'invalid_request',
    /ranker is a reranker.*no vectors/,
    'model',
  );
});

test('what cannot be scored is named', async (t) => {
  const { post } = await apiRig(t, { env: { MAX_INPUTS: '3' } });
  const small = { ...FAKE_MODEL, name: 'small', outputs: ['dense'] as const };
  const cases: [string, object, number, string, RegExp][] = [
    ['/rerank', { query: 'a', documents: [] }, 400, 'invalid_request', /^documents must have at least 1/],
    ['/rerank', { query: '', documents: ['a'] }, 400, 'invalid_request', /^query must not be empty/],
    ['/rerank', { query: 'a', documents: ['a', ''] }, 400, 'empty_input', /^documents\[1\] is an empty text/],
    ['/rerank', { query: 'a', documents: ['a', POISON] }, 500, 'model_failed', /^documents\[1\]: The model/],
    ['/rerank', { query: 'a', documents: ['a', 'b', 'c', 'd'] }, 400, 'invalid_request', /at most 3/],
    ['/score', { pairs: [['a']] }, 400, 'invalid_request', /^pairs\[0\] must have at least 2/],
    ['/score', { pairs: [['a', '']] }, 400, 'empty_input', /^pairs\[0\]\[1\]/],
    [
      '/score',
      { pairs: [['a', 'b']], mode: 'dense', weights: { dense: 1 } },
      400,
      'invalid_request',
      /^weights/,
    ],
    ['/score', { pairs: [['a', 'b']], weights: { dense: 0 } }, 400, 'invalid_request', /^weights must be/],
    [
      '/score',
      { pairs: [['a', 'one two three four five six seven']], truncate: false },
      422,
      'text_too_long',
      /^pairs\[0\]\[1\] has 9 tokens/,
    ],
  ];
  for (const [url, body, status, code, message] of cases)
    assertError(await post(url, body), status, code, message);
  const other = await apiRig(t, { workers: [announcement(small)], env: { MODEL: 'small' } });
  assertError(
    await other.post('/score', { pairs: [['a', 'b']], mode: 'colbert' }),
    400,
    'unknown_output',
    /small has no colbert output; it has dense/,
  );
});

test('tokenize and decode: ids that the model reads, and back', async (t) => {
  const { post } = await apiRig(t);
  const { data } = (await post('/tokenize', { input: ['a bb', 'c'] })).json();
  assert.deepEqual(data[0], {
    index: 0,
    ids: [0, 11, 12, 2],
    tokens: ['<s>', 'x', 'xx', '</s>'],
    originalTokens: 4,
  });
  const bare = (await post('/tokenize', { input: 'a bb', addSpecialTokens: false })).json().data[0];
  assert.deepEqual(bare.ids, [11, 12]);
  assert.deepEqual((await post('/decode', { ids: [0, 11, 12, 2] })).json().texts, ['x xx']);
  assert.deepEqual((await post('/decode', { ids: [[11], [0, 12]], skipSpecialTokens: false })).json().texts, [
    'x',
    '<s> xx',
  ]);
  assertError(await post('/decode', { ids: [] }), 400, 'empty_input', /^ids must have/, 'ids');
  assertError(await post('/tokenize', { input: '' }), 400, 'empty_input', /^input\[0\]/);
});

test('stats count what was done and say how busy each model is', async (t) => {
  const { post, get } = await apiRig(t);
  await post('/embeddings', { input: ['a', 'b'] });
  await post('/score', { pairs: [['a', 'b']] });
  const stats = (await get('/stats')).json();
  assert.equal(stats.requests, 2);
  assert.equal(stats.refused, 0);
  assert.equal(stats.texts, 3);
  assert.equal(stats.models[0].model, 'fake');
  assert.equal(stats.models[0].queueDepth, 0);
});
