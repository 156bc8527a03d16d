import assert from 'node:assert/strict';
import test from 'node:test';
import type { LightMyRequestResponse } from 'fastify';
import { apiRig } from '../../support/apiRig.ts';
import { POISON } from '../../support/fakeEngine.ts';

const long = 'one two three four five six seven eight';
const keys = (value: object) => Object.keys(value);

function assertAnswer(response: LightMyRequestResponse, status: number, body: unknown): void {
  assert.equal(response.statusCode, status, response.body);
  assert.deepEqual(response.json(), body);
}

test('TEI: vectors of every kind, with its timing headers', async (t) => {
  const { post } = await apiRig(t);
  const one = await post('/tei/embed', { inputs: 'a bb' });
  assert.equal(one.json().length, 1);
  assert.equal(one.json()[0].length, 4);
  for (const name of [
    'x-compute-type',
    'x-compute-time',
    'x-compute-characters',
    'x-compute-tokens',
    'x-total-time',
    'x-tokenization-time',
    'x-queue-time',
    'x-inference-time',
  ])
    assert.ok(one.headers[name] !== undefined, name);
  assert.equal(one.headers['x-compute-characters'], '4');
  assert.equal(one.headers['x-compute-tokens'], '4');
  const several = (await post('/tei/embed', { inputs: ['a bb', [11, 12]], dimensions: 2 })).json();
  assert.deepEqual(several.map(keys), [
    ['0', '1'],
    ['0', '1'],
  ]);
  assert.deepEqual((await post('/tei/embed_sparse', { inputs: 'a bb' })).json(), [
    [
      { index: 11, value: 0.11 },
      { index: 12, value: 0.12 },
    ],
  ]);
  const all = (await post('/tei/embed_all', { inputs: ['a bb', 'c'] })).json();
  assert.deepEqual(
    all.map((rows: number[][]) => rows.length),
    [3, 2],
  );
});

test('TEI: rerank, similarity, tokens, OpenAI paths', async (t) => {
  const { post } = await apiRig(t);
  const ranks = (await post('/tei/rerank', { query: 'a', texts: ['bbb', 'a'], return_text: true })).json();
  assert.deepEqual(keys(ranks[0]), ['index', 'score', 'text']);
  assert.ok(ranks[0].score >= ranks[1].score);
  const [same, other] = (
    await post('/tei/similarity', { inputs: { source_sentence: 'a', sentences: ['a', 'bbbb'] } })
  ).json();
  assert.ok(same > other);
  assert.deepEqual((await post('/tei/tokenize', { inputs: 'xx xxx' })).json(), [
    [
      { id: 0, text: '<s>', special: true, start: null, stop: null },
      { id: 12, text: 'xx', special: false, start: 0, stop: 2 },
      { id: 13, text: 'xxx', special: false, start: 3, stop: 6 },
      { id: 2, text: '</s>', special: true, start: null, stop: null },
    ],
  ]);
  const bare = (await post('/tei/tokenize', { inputs: ['xx'], add_special_tokens: false })).json();
  assert.deepEqual(bare, [[{ id: 12, text: 'xx', special: false, start: 0, stop: 2 }]]);
  assertAnswer(await post('/tei/decode', { ids: [0, 12, 2] }), 200, ['xx']);
  assertAnswer(await post('/tei/decode', { ids: [[12], [13]], skip_special_tokens: false }), 200, [
    'xx',
    'xxx',
  ]);
  for (const path of ['/tei/v1/embeddings', '/tei/embeddings']) {
    const body = (await post(path, { input: ['a'], model: 'whatever', encoding_format: 'base64' })).json();
    assert.deepEqual(keys(body), ['object', 'data', 'model', 'usage']);
    assert.equal(Buffer.from(body.data[0].embedding, 'base64').length, 16);
  }
});

test('TEI: ids to decode are of one text or of several, never both', async (t) => {
  const { post } = await apiRig(t);
  for (const ids of [[1, [2]], [[1], 2], [2 ** 31], [[2 ** 31]]])
    assert.equal((await post('/tei/decode', { ids })).statusCode, 422, JSON.stringify(ids));
});

test('TEI: its errors, statuses and headers', async (t) => {
  const { post, get, state } = await apiRig(t, { env: { MAX_INPUTS: '2' } });
  const cases: [string, object, number, string][] = [
    ['/embed', { inputs: [] }, 400, 'Empty'],
    ['/embed', { inputs: '' }, 400, 'Empty'],
    ['/embed', {}, 422, 'Validation'],
    ['/embed', { inputs: 'a', truncation_direction: 'Up' }, 422, 'Validation'],
    ['/embed', { inputs: ['a', 'b', 'c'] }, 422, 'Validation'],
    ['/embed', { inputs: long }, 422, 'Validation'],
    ['/embed', { inputs: 'a', prompt_name: 'nope' }, 422, 'Validation'],
    ['/embed', { inputs: POISON }, 424, 'Backend'],
    ['/rerank', { query: 'a', texts: [] }, 400, 'Empty'],
    ['/similarity', { inputs: { source_sentence: 'a', sentences: [] } }, 400, 'Empty'],
  ];
  for (const [path, body, status, type] of cases) {
    const response = await post(`/tei${path}`, body);
    assert.equal(response.statusCode, status, `${path} ${JSON.stringify(body)}: ${response.body}`);
    assert.deepEqual(keys(response.json()), ['error', 'error_type']);
    assert.equal(response.json().error_type, type);
  }
  assert.equal((await post('/tei/embed', { inputs: long, truncate: true })).statusCode, 200);
  const openai = await post('/tei/v1/embeddings', { input: [] });
  assert.equal(openai.statusCode, 400);
  assert.deepEqual({ ...openai.json<object>(), message: '' }, { message: '', code: 400, type: 'Empty' });
  const info = (await get('/tei/info')).json();
  assert.equal(info.model_id, 'fake');
  assert.equal(info.max_input_length, 8);
  assert.equal(info.max_client_batch_size, 2);
  assert.equal((await get('/tei/health')).body, '');
  assert.match((await get('/tei/metrics')).body, /te_request_success\{method="single"\} 1/);
  state.workers = [];
  const gone = await post('/tei/embed', { inputs: 'a' });
  assert.equal(gone.statusCode, 503);
  assert.equal(gone.json().error_type, 'Unhealthy');
  assert.equal((await get('/tei/health')).statusCode, 503);
});

test('Smart-Embedder: vectors, heads not asked for, sparse both ways, truncation warnings', async (t) => {
  const { post } = await apiRig(t);
  const body = (await post('/smart-embedder/embeddings/', { sentences: ['a bb', long] })).json();
  assert.deepEqual(keys(body), [
    'data',
    'model_name',
    'dense_model_name',
    'sparse_model_name',
    'colbert_model_name',
    'processing_time_ms',
    'warnings',
  ]);
  assert.deepEqual(keys(body.data[0]), ['id', 'text', 'embeddings']);
  assert.deepEqual(body.data[0].embeddings.sparse, { 11: 0.11, 12: 0.12 });
  assert.equal(body.data[0].embeddings.colbert.length, 3);
  assert.deepEqual(body.warnings, [
    {
      code: 'input_truncated',
      severity: 'warning',
      message: 'sentences[1] was cut to 8 tokens.',
      target: { field: 'sentences', index: 1, pointer: '/sentences/1' },
      details: {
        model: 'fake',
        max_tokens: 8,
        original_tokens: 10,
        truncated_tokens: 2,
        truncation_side: 'right',
      },
    },
  ]);
  const sparse = { sentences: ['a bb'], return_dense: false, return_colbert: false, sparse_as_indices: true };
  const { embeddings } = (await post('/smart-embedder/embeddings', sparse)).json().data[0];
  assert.deepEqual(embeddings, {
    dense: null,
    sparse: { indices: [11, 12], values: [0.11, 0.12] },
    colbert: null,
  });
  const rerank = (await post('/smart-embedder/rerank', { query: 'a', passages: ['bbb', 'a'] })).json();
  assert.deepEqual(keys(rerank), ['results', 'model_name', 'processing_time_ms', 'warnings']);
  assert.deepEqual(keys(rerank.results[0]), ['index', 'passage', 'score']);
  assert.ok(rerank.results[0].score >= rerank.results[1].score);
});

test('Smart-Embedder: errors, health, stats and the series its users scrape', async (t) => {
  const { post, get } = await apiRig(t, { env: { MAX_INPUTS: '2', MAX_INPUT_CHARS: '50' } });
  const cases: [string, object, number][] = [
    ['/embeddings', { sentences: [] }, 400],
    ['/rerank', { query: '  ', passages: ['a'] }, 400],
    ['/rerank', { query: 'a', passages: [] }, 400],
    ['/embeddings', { sentences: ['a', 'b', 'c'] }, 422],
    ['/embeddings', { sentences: ['x'.repeat(51)] }, 422],
    ['/embeddings', {}, 422],
  ];
  for (const [path, body, status] of cases) {
    const response = await post(`/smart-embedder${path}`, body);
    assert.equal(response.statusCode, status, response.body);
    assert.deepEqual(keys(response.json()), ['detail']);
  }
  await post('/smart-embedder/embeddings', { sentences: ['a'] });
  assert.equal((await get('/smart-embedder/health')).json().status, 'healthy');
  assert.equal((await get('/smart-embedder/stats')).json().sentences, 1);
  const { body } = await get('/smart-embedder/metrics');
  for (const series of [
    'embedding_requests_total 5',
    'embedding_requests_rejected_total{reason="rate_limit"} 0',
    'embedding_requests_rejected_total{reason="backpressure"} 0',
    'rerank_requests_rejected_total{reason="backpressure"} 0',
    'embedding_sentences_processed_total 1',
    'embedding_active_requests 0',
    'embedding_queue_size 0',
    'rerank_pairs_processed_total 0',
    'rerank_active_requests 0',
    'embedding_request_duration_seconds_count 5',
    'embedding_batch_size_count 1',
    'embedding_gpu_inference_duration_seconds_count 1',
    'rerank_request_duration_seconds_count 2',
    'rerank_inference_duration_seconds_count 0',
  ])
    assert.ok(body.includes(`${series}\n`), `${series} in\n${body}`);
  assert.match(body, /embedding_server_info\{version="[^"]+",model="fake"\} 1/);
});

test('Smart-Embedder: a request that is refused before it begins is not taken off those in flight', async (t) => {
  const { app } = await apiRig(t, { env: { API_KEYS: 'me=a-key-of-this-test' } });
  const ask = (method: 'GET' | 'POST', path: string, headers = {}) =>
    app.inject({ method, url: `/smart-embedder${path}`, headers, ...(method === 'POST' && { payload: {} }) });
  assert.equal((await ask('POST', '/rerank')).statusCode, 401);
  const { body } = await ask('GET', '/metrics', { authorization: 'Bearer a-key-of-this-test' });
  assert.match(body, /^rerank_requests_total 1$/m);
  assert.match(body, /^rerank_active_requests 0$/m);
});

test('infinity: embeddings, rerank, models, health, errors', async (t) => {
  const { post, get } = await apiRig(t);
  const body = (
    await post('/infinity/embeddings', { input: ['a'], model: 'fake', dimensions: 0, modality: 'text' })
  ).json();
  assert.deepEqual(keys(body), ['object', 'data', 'model', 'usage']);
  const rerank = (
    await post('/infinity/rerank', { query: 'a', documents: ['b', 'a'], return_documents: true, top_n: 1 })
  ).json();
  assert.deepEqual(keys(rerank), ['object', 'results', 'model', 'usage', 'id', 'created']);
  assert.equal(rerank.results.length, 1);
  assert.deepEqual(keys(rerank.results[0]), ['relevance_score', 'index', 'document']);
  assert.equal((await get('/infinity/models')).json().data[0].id, 'fake');
  assert.equal(typeof (await get('/infinity/health')).json().unix, 'number');
  assert.equal((await get('/infinity/metrics')).statusCode, 200);
  for (const [url, body, status] of [
    ['/embeddings', { input: 'a', model: 'nope' }, 400],
    ['/embeddings', { input: [] }, 422],
    ['/embeddings', { input: 'a', modality: 'audio' }, 422],
    ['/rerank', { query: 'a', documents: [] }, 422],
  ] as const) {
    const response = await post(`/infinity${url}`, body);
    assert.equal(response.statusCode, status, response.body);
    const { error } = response.json();
    assert.deepEqual(keys(error), ['message', 'type', 'param', 'code']);
    assert.deepEqual([error.type, error.code], [null, status]);
  }
});

test('Semantic Explorer: embed under each name, rerank, health, queue headers', async (t) => {
  const { post, get } = await apiRig(t);
  for (const body of [{ input: ['a'] }, { text: 'a' }, { texts: ['a'] }]) {
    const response = await post('/semantic-explorer/embed', { ...body, model: 'fake' });
    assert.deepEqual(keys(response.json()), ['embeddings', 'model', 'usage']);
    assert.equal(response.json().embeddings.length, 1);
    assert.equal(response.headers['x-queue-depth'], '0');
    assert.equal(response.headers['x-queue-capacity'], '576');
    assert.ok(response.headers['x-estimated-wait-ms'] !== undefined);
  }
  const body = { query: 'a', documents: ['b', 'a'], top_n: 1 };
  const { results, model } = (await post('/semantic-explorer/rerank', body)).json();
  assert.deepEqual([keys(results[0]), results.length, model], [['index', 'score', 'text'], 1, 'fake']);
  assert.equal((await get('/semantic-explorer/health/live')).json().status, 'alive');
  assert.equal((await get('/semantic-explorer/health/ready')).json().status, 'ready');
  assert.equal((await get('/semantic-explorer/models')).json().models[0].dimensions, 4);
  assert.deepEqual(keys((await post('/semantic-explorer/embed', {})).json()), ['error']);
});

test('embedding-server: data, usage and timings', async (t) => {
  const { post } = await apiRig(t);
  const url = '/embedding-server/api/v1/embed';
  const body = (await post(url, { inputs: ['a', 'b'], truncate: true, truncation_direction: 'left' })).json();
  assert.deepEqual(keys(body), ['data', 'usage', 'timings']);
  assert.deepEqual(keys(body.data[1]), ['embedding', 'index']);
  assert.deepEqual(keys(body.timings), ['tokenization', 'queue', 'inference']);
  assert.deepEqual(keys((await post(url, { inputs: [] })).json()), ['error', 'error_type']);
});

test('Cohere and Jina: rerank with texts or objects', async (t) => {
  const { post } = await apiRig(t);
  for (const url of ['/v1/rerank', '/v2/rerank']) {
    const body = {
      model: 'fake',
      query: 'a',
      documents: ['bbb', { text: 'a' }],
      top_n: 1,
      return_documents: true,
    };
    const { results, id, meta } = (await post(url, { ...body, max_tokens_per_doc: 4096 })).json();
    assert.deepEqual(keys(results[0]), ['index', 'relevance_score', 'document']);
    assert.ok(['a', 'bbb'].includes(results[0].document.text));
    assert.ok(id.length > 0 && meta.billed_units.search_units === 1);
    const refused = await post(url, { query: 'a', documents: [] });
    assert.equal(refused.statusCode, 400);
    assert.match(refused.json().message, /^documents must have at least 1/);
    assert.equal(refused.json().detail, refused.json().message);
  }
});

test('bge-m3-embedding-server: sparse, and both', async (t) => {
  const { post } = await apiRig(t);
  const sparse = (await post('/v1/sparse-embeddings', { input: 'a bb' })).json();
  assert.deepEqual(sparse.data, [{ index: 0, sparse_values: { indices: [11, 12], values: [0.11, 0.12] } }]);
  const both = (await post('/v1/embeddings:both', { input: ['a bb'] })).json();
  assert.deepEqual(keys(both.data[0]), ['index', 'embedding', 'sparse_values']);
});

test('OpenAI: its error object, also for an unknown model and a bad body', async (t) => {
  const { post, get } = await apiRig(t);
  assertAnswer(await post('/v1/embeddings', { input: 'a', model: 'nope' }), 404, {
    error: {
      message: 'There is no model "nope"; there is fake.',
      type: 'invalid_request_error',
      param: 'model',
      code: 'model_not_found',
    },
  });
  const bad = await post('/v1/embeddings', '{', { 'content-type': 'application/json' });
  assert.deepEqual(keys(bad.json().error), ['message', 'type', 'param', 'code']);
  assert.equal((await get('/v1/models')).json().data[0].id, 'fake');
});
