import assert from 'node:assert/strict';
import test from 'node:test';
import { apiRig, assertError } from '../../support/apiRig.ts';

/** One rule for the characters of a text, on every route that takes one. */

test('blank texts are refused by name; clients of other servers may send them', async (t) => {
  const { post } = await apiRig(t);
  for (const blank of ['', ' ', '\n\t', '\u200b\ufeff']) {
    const one = await post('/embeddings', { input: ['a', blank] });
    assertError(one, 400, 'empty_input', /^input\[1\] is (an empty text|blank)/, 'input[1]');
    const rerank = await post('/rerank', { query: 'a', documents: ['b', blank] });
    assertError(rerank, 400, 'empty_input', /./, 'documents[1]');
    const pair = await post('/score', { pairs: [[blank, 'a']] });
    assertError(pair, 400, 'empty_input', /./, 'pairs[0][0]');
  }
  const prompted = await post('/embeddings', { input: ' ', prompt: 'find: ' });
  assertError(prompted, 400, 'empty_input', /^input\[0\] is blank/);
  const { data } = (await post('/embeddings', { input: ['a', ' '], partial: true })).json();
  assert.deepEqual([data[0].embedding.length, data[1].error.code], [4, 'empty_input']);
  for (const [url, body] of [
    ['/v1/embeddings', { input: ' ' }],
    ['/v1/sparse-embeddings', { input: ' ' }],
    ['/tei/embed', { inputs: [' '] }],
    ['/tei/v1/embeddings', { input: ' ' }],
    ['/smart-embedder/embeddings', { sentences: [' '] }],
    ['/infinity/embeddings', { input: [' '] }],
    ['/semantic-explorer/embed', { input: ' ' }],
    ['/embedding-server/api/v1/embed', { inputs: ' ' }],
  ] as const) {
    assert.equal((await post(url, body)).statusCode, 200, url);
    const nothing = JSON.parse(JSON.stringify(body).replace('" "', '""'));
    assert.ok([400, 422].includes((await post(url, nothing)).statusCode), url);
  }
});

test('a NUL is refused by the name of its text; a lone surrogate is not', async (t) => {
  const { post } = await apiRig(t);
  for (const [url, body, param] of [
    ['/embeddings', { input: ['a', 'b\0c'] }, 'input[1]'],
    ['/embeddings', { input: 'a', prompt: 'b\0' }, 'input[0]'],
    ['/rerank', { query: 'a\0', documents: ['b'] }, 'query'],
    ['/score', { pairs: [['a', 'b\0']] }, 'pairs[0][1]'],
    ['/tokenize', { input: 'a\0' }, 'input[0]'],
  ] as const)
    assertError(await post(url, body), 400, 'invalid_request', /has a NUL character/, param);
  const tei = await post('/tei/tokenize', { inputs: 'a\0' });
  assert.equal(tei.statusCode, 422);
  assert.match(tei.json().error, /^inputs\[0\] has a NUL/);
  const openai = await post('/v1/embeddings', { input: ['a\0'] });
  assert.equal(openai.statusCode, 400);
  assert.equal(openai.json().error.param, 'input[0]');
  assert.equal((await post('/embeddings', { input: 'a\ud800b', outputs: ['dense'] })).statusCode, 200);
});

test('a vector of zeros is told of', async (t) => {
  const { post, engine } = await apiRig(t);
  const embed = engine.embed.bind(engine);
  engine.embed = async (...call) => {
    const result = await embed(...call);
    for (const vector of result.vectors) if ('dense' in vector) vector.dense?.fill(0);
    return result;
  };
  for (const url of ['/embeddings', '/v1/embeddings'])
    assert.deepEqual((await post(url, { input: 'a' })).json().warnings, [{ code: 'zero_vector', index: 0 }]);
  assert.deepEqual((await post('/smart-embedder/embeddings', { sentences: ['a'] })).json().warnings, []);
});

test('timings only where they are wanted, to a hundredth of a millisecond', async (t) => {
  const { post } = await apiRig(t);
  const ask = async (more: object) => (await post('/embeddings', { input: 'a', ...more })).json().timings;
  assert.equal(await ask({ outputs: ['dense'], timings: false }), undefined);
  assert.equal(await ask({}), undefined);
  const timings: Record<string, number> = await ask({ outputs: ['dense'] });
  assert.deepEqual(Object.keys(timings), ['queueMs', 'tokenizeMs', 'inferMs']);
  for (const ms of Object.values(timings)) assert.match(String(ms), /^\d+(\.\d{1,2})?$/);
});
