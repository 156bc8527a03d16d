import assert from 'node:assert/strict';
import test from 'node:test';
import { apiRig, assertError } from '../../support/apiRig.ts';
import { passages } from '../../support/jobLines.ts';

test('search embeds the query as the job was, and explains hits in words', async (t) => {
  const { post, jobs, engine } = await apiRig(t);
  const documents = [
    { id: 'near', text: 'aa bbb', payload: { lang: 'en' } },
    { id: 'far', text: 'cccccc' },
  ];
  const { id } = (
    await post('/jobs', { documents, outputs: ['dense', 'sparse', 'colbert'], dimensions: 2 })
  ).json();
  await jobs.drain();
  const response = await post(`/jobs/${id}/search`, { query: 'aa', mode: 'sparse', limit: 1, explain: true });
  assert.equal(response.statusCode, 200, response.body);
  const { hits, scanned, warnings } = response.json();
  assert.equal(scanned, 2);
  assert.deepEqual(warnings, []);
  assert.equal(hits.length, 1);
  assert.equal(hits[0].id, 'near');
  assert.equal(hits[0].text, 'aa bbb');
  assert.deepEqual(hits[0].payload, { lang: 'en' });
  assert.deepEqual(
    hits[0].explanation.sparse.map(({ tokenId, token }: { tokenId: number; token: string }) => [
      tokenId,
      token,
    ]),
    [[12, 'xx']],
  );
  for (const mode of ['dense', 'colbert', 'hybrid']) {
    const other = await post(`/jobs/${id}/search`, { query: 'aa', mode });
    assert.equal(other.statusCode, 200, other.body);
  }
  assert.equal(engine.embedCalls.at(-1)?.dimensions, 2);
});

test('an explanation of ColBERT names the tokens of both sides, prompt, chunks and cut included', async (t) => {
  const { post, jobs } = await apiRig(t);
  // The model takes 8 tokens, 6 of them words: behind a prompt the last word is cut off.
  const documents = [{ id: 'long', text: 'a bb ccc dddd eeeee ffffff' }];
  for (const [options, words] of [
    [{}, ['a', 'bb', 'ccc', 'dddd', 'eeeee', 'ffffff']],
    [{ prompt: 'pppppppp: ' }, ['pppppppp:', 'a', 'bb', 'ccc', 'dddd', 'eeeee']],
    [{ chunking: { maxTokens: 5, unit: 'token' } }, ['dddd', 'eeeee', 'ffffff']],
  ] as const) {
    const { id } = (await post('/jobs', { documents, outputs: ['colbert'], ...options })).json();
    await jobs.drain();
    // The last word that the model saw, so that one row is met exactly.
    const query = words.at(-1)!;
    const response = await post(`/jobs/${id}/search`, { query, mode: 'colbert', limit: 2, explain: true });
    assert.equal(response.statusCode, 200, response.body);
    const [hit] = response.json().hits;
    const length = words.length;
    const [first] = hit.explanation.colbert;
    assert.equal(first.documentIndex, length - 1);
    assert.equal(first.queryToken, 'x'.repeat(query.length));
    assert.equal(first.documentToken, 'x'.repeat(query.length));
  }
});

test('search refuses what the job cannot answer', async (t) => {
  const { post, jobs, state } = await apiRig(t, { env: { MAX_INPUT_CHARS: '50' } });
  const { id } = (await post('/jobs', { documents: passages(1), outputs: ['dense'] })).json();
  await jobs.drain();
  const url = `/jobs/${id}/search`;
  assertError(
    await post(url, { query: 'a', mode: 'colbert' }),
    400,
    'invalid_request',
    /colbert .* it has dense/,
    'mode',
  );
  assertError(
    await post(url, { query: 'a', mode: 'best' }),
    400,
    'invalid_request',
    /one of dense, sparse, colbert, hybrid/,
    'mode',
  );
  assertError(await post(url, {}), 400, 'invalid_request', /query is required/, 'query');
  assertError(await post(url, { query: '' }), 400, 'invalid_request', /query must not be empty/, 'query');
  assertError(
    await post(url, { query: 'x'.repeat(51) }),
    400,
    'invalid_request',
    /query must have at most 50/,
    'query',
  );
  state.workers = [];
  assertError(await post(url, { query: 'a' }), 503, 'model_unavailable', /fake/);
});

test('colbert over many rows re-ranks the best of another output of the job', async (t) => {
  const { post, jobs } = await apiRig(t, { env: { MAX_JOB_DOCUMENTS: '5000' } });
  for (const outputs of [
    ['dense', 'colbert'],
    ['sparse', 'colbert'],
  ]) {
    const { id } = (await post('/jobs', { documents: passages(2001), outputs })).json();
    await jobs.drain();
    const response = await post(`/jobs/${id}/search`, { query: 'text d7', mode: 'colbert', limit: 3 });
    assert.equal(response.statusCode, 200, response.body);
    const { hits, notes } = response.json();
    assert.equal(hits.length, 3);
    assert.deepEqual(Object.keys(hits[0].scores), ['colbert']);
    assert.match(notes.join(), new RegExp(`colbert re-ranked the best 100 by ${outputs[0]}`));
  }
});
