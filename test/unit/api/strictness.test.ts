import assert from 'node:assert/strict';
import test from 'node:test';
import { apiRig, assertError } from '../../support/apiRig.ts';

test('a query that a route would not read is refused; clients of other servers and probes may send one', async (t) => {
  const { post, get } = await apiRig(t);
  for (const [url, body, name] of [
    ['/embeddings?dimensions=1', { input: 'a' }, 'dimensions'],
    ['/rerank?topN=1', { query: 'a', documents: ['b'] }, 'topN'],
    ['/score?a', { pairs: [['a', 'b']] }, 'a'],
    ['/tokenize?model=fake', { input: 'a' }, 'model'],
  ] as const)
    assertError(await post(url, body), 400, 'invalid_request', /is not a parameter of the query here/, name);
  assertError(await get('/models?limit=1'), 400, 'invalid_request', /"limit" is not a parameter/, 'limit');
  assertError(await get('/jobs?page=1'), 400, 'invalid_request', /there is limit, cursor/, 'page');
  assert.equal((await post('/v1/embeddings?api-version=2024-02-01', { input: 'a' })).statusCode, 200);
  assert.equal((await post('/tei/embed?x=1', { inputs: 'a' })).statusCode, 200);
  for (const url of ['/health/ready?t=1', '/metrics?x=1']) assert.equal((await get(url)).statusCode, 200);
});

test('null is a field that is not given, for the clients of other servers', async (t) => {
  const { post } = await apiRig(t);
  for (const [url, body] of [
    ['/v1/embeddings', { input: 'a', model: null, dimensions: null, user: null, encoding_format: null }],
    ['/v2/rerank', { model: null, query: 'a', documents: ['b'], top_n: null, return_documents: null }],
    ['/tei/embed', { inputs: 'a', truncate: null, prompt_name: null, normalize: null, dimensions: null }],
    ['/tei/rerank', { query: 'a', texts: ['b'], truncate: null, raw_scores: null }],
    ['/smart-embedder/embeddings', { sentences: ['a'], return_dense: null }],
    ['/infinity/rerank', { query: 'a', documents: ['b'], top_n: null, model: null }],
    ['/semantic-explorer/embed', { input: null, text: 'a', model: null }],
    ['/embedding-server/api/v1/embed', { inputs: 'a', prompt_name: null }],
  ] as const)
    assert.equal((await post(url, body)).statusCode, 200, url);
  assertError(
    await post('/embeddings', { input: 'a', dimensions: null }),
    400,
    'invalid_request',
    /dimensions/,
  );
  const missing = await post('/v1/embeddings', { input: null });
  assert.equal(missing.json().error.message, 'input is required.');
});

test('further fields of an OpenAI body mean nothing inside', async (t) => {
  const { post } = await apiRig(t);
  const inside = {
    nameOf: 'x',
    client: 'y',
    texts: 1,
    acceptBlank: false,
    returnTokenIds: true,
    prompt_name: 1,
  };
  assert.equal((await post('/v1/embeddings', { input: ' ', ...inside })).statusCode, 200);
  const empty = await post('/v1/embeddings', { input: [''], ...inside });
  assert.equal(empty.json().error.param, 'input[0]');
});
