import assert from 'node:assert/strict';
import test from 'node:test';
import { announcement, apiRig, assertError } from '../../support/apiRig.ts';
import { FAKE_MODEL, POISON } from '../../support/fakeEngine.ts';

const long = 'one two three four five six seven eight';

test('without outputs the answer is that of OpenAI, on both paths', async (t) => {
  const { post } = await apiRig(t);
  for (const url of ['/embeddings', '/v1/embeddings']) {
    const response = await post(url, { input: ['a bb', 'c'], model: 'fake', user: 'someone' });
    assert.equal(response.statusCode, 200, response.body);
    const body = response.json();
    assert.deepEqual(Object.keys(body), ['object', 'data', 'model', 'usage']);
    assert.equal(body.object, 'list');
    assert.equal(body.model, 'fake');
    assert.deepEqual(body.usage, { prompt_tokens: 7, total_tokens: 7 });
    assert.deepEqual(
      body.data.map(({ object, index }: { object: string; index: number }) => [object, index]),
      [
        ['embedding', 0],
        ['embedding', 1],
      ],
    );
    const expected = Float32Array.from({ length: 4 }, (_, axis) => Math.sin(0 + 11 + 12 + 2 + axis));
    assert.deepEqual(Float32Array.from(body.data[0].embedding), expected);
  }
});

test('base64 is the little-endian float32 of the same numbers', async (t) => {
  const { post } = await apiRig(t);
  const float = (await post('/v1/embeddings', { input: 'a', encoding_format: 'float' })).json().data[0]
    .embedding;
  const base64 = (await post('/v1/embeddings', { input: 'a', encoding_format: 'base64' })).json().data[0]
    .embedding;
  const bytes = Buffer.from(base64, 'base64');
  const read = Float32Array.from({ length: bytes.length / 4 }, (_, index) => bytes.readFloatLE(index * 4));
  assert.deepEqual(read, Float32Array.from(float));
});

test('with outputs the items carry the vectors by name, with warnings and timings', async (t) => {
  const { post } = await apiRig(t);
  const response = await post('/embeddings', { input: 'a bb', outputs: ['dense', 'sparse', 'colbert'] });
  const body = response.json();
  const [item] = body.data;
  assert.deepEqual(Object.keys(item), ['index', 'tokens', 'dense', 'sparse', 'colbert']);
  assert.equal(item.tokens, 4);
  assert.equal(item.dense.length, 4);
  assert.deepEqual(item.sparse, { indices: [11, 12], values: [0.11, 0.12] });
  assert.deepEqual(
    item.colbert.map((row: number[]) => row.length),
    [2, 2, 2],
  );
  assert.deepEqual(body.warnings, []);
  assert.deepEqual(Object.keys(body.timings), ['queueMs', 'tokenizeMs', 'inferMs']);
  const sparseOnly = await post('/embeddings', { input: 'a', outputs: ['sparse'] });
  assert.deepEqual(Object.keys(sparseOnly.json().data[0]), ['index', 'tokens', 'sparse']);
});

test('a text over the length is cut and reported, or refused', async (t) => {
  const { post } = await apiRig(t);
  const cut = await post('/embeddings', { input: ['a', long] });
  assert.equal(cut.statusCode, 200);
  assert.deepEqual(cut.json().warnings, [
    { code: 'input_truncated', index: 1, maxTokens: 8, originalTokens: 10 },
  ]);
  const refused = await post('/embeddings', { input: ['a', long], truncate: false });
  assertError(refused, 422, 'text_too_long', /input\[1\] has 10 tokens; fake reads at most 8/, 'input[1]');
});

test('dimensions cut the dense vector and name the size there is', async (t) => {
  const { post } = await apiRig(t);
  const cut = await post('/embeddings', { input: 'a', dimensions: 2 });
  assert.equal(cut.json().data[0].embedding.length, 2);
  assertError(
    await post('/embeddings', { input: 'a', dimensions: 5 }),
    400,
    'invalid_request',
    /dimensions is 5; .* has 4/,
    'dimensions',
  );
});

test('each malformed field is named, with its limit', async (t) => {
  const { post } = await apiRig(t, { env: { MAX_INPUTS: '3', MAX_INPUT_CHARS: '20' } });
  const cases: [unknown, string, RegExp, string | null][] = [
    [{}, 'invalid_request', /^input is required/, 'input'],
    [{ input: 3 }, 'invalid_request', /^input must be a string or an array, got a number/, 'input'],
    [
      { input: ['a', 3] },
      'invalid_request',
      /^input\[1\] must be a string or an array of token ids, got a number/,
      'input[1]',
    ],
    [{ input: [] }, 'empty_input', /at least one text/, 'input'],
    [{ input: '' }, 'empty_input', /^input\[0\] is an empty text/, 'input[0]'],
    [{ input: ['a', ''] }, 'empty_input', /^input\[1\]/, 'input[1]'],
    [{ input: ['a', 'b', 'c', 'd'] }, 'invalid_request', /^input has 4 items; at most 3/, 'input'],
    [{ input: 'a', outputs: [] }, 'invalid_request', /^outputs must have at least 1/, 'outputs'],
    [
      { input: 'a', outputs: ['dense', 'colber'] },
      'unknown_output',
      /^outputs\[1\]: "colber" .*dense, sparse, colbert/,
      'outputs[1]',
    ],
    [
      { input: 'a', outputs: 'dense' },
      'invalid_request',
      /^outputs must be an array, got a string/,
      'outputs',
    ],
    [{ input: 'a', dimensions: 0 }, 'invalid_request', /^dimensions must be at least 1/, 'dimensions'],
    [
      { input: 'a', dimensions: '2' },
      'invalid_request',
      /^dimensions must be an integer, got a string/,
      'dimensions',
    ],
    [{ input: 'a', truncate: 'no' }, 'invalid_request', /^truncate must be a boolean/, 'truncate'],
    [
      { input: 'a', encoding_format: 'hex' },
      'invalid_request',
      /^encoding_format must be one of float, base64, int8/,
      'encoding_format',
    ],
    [
      { input: 'a', ouptuts: ['dense'] },
      'invalid_request',
      /^"ouptuts" is not a field here; there is input, .*outputs/,
      'ouptuts',
    ],
    [[], 'invalid_request', /^The body must be an object, got an array/, null],
  ];
  for (const [body, code, message, param] of cases) {
    assertError(await post('/embeddings', body), 400, code, message, param);
  }
  const tooLong = await post('/embeddings', { input: 'x'.repeat(21) });
  assertError(tooLong, 422, 'text_too_long', /^input\[0\] has 21 characters .* at most 20/, 'input[0]');
});

test('a body that is not JSON, not UTF-8, missing, compressed or over the limit', async (t) => {
  const { request } = await apiRig(t, { env: { MAX_BODY_BYTES: '1000' } });
  const send = (payload: string | Buffer, headers = {}) =>
    request({
      method: 'POST',
      url: '/embeddings',
      payload,
      headers: { 'content-type': 'application/json', ...headers },
    });
  assertError(await send('{"input": a}'), 400, 'invalid_json', /not valid JSON/);
  assertError(await send(Buffer.from([0x7b, 0xff, 0x7d])), 400, 'invalid_json', /not UTF-8/);
  assertError(await send(''), 400, 'invalid_request', /body must be an object, got nothing/);
  assertError(
    await send('{"__proto__":{"x":1},"input":"a"}'),
    400,
    'invalid_json',
    /a field named __proto__/,
  );
  assertError(
    await send('{}', { 'content-encoding': 'gzip' }),
    415,
    'unsupported_media_type',
    /"gzip"/,
    'content-encoding',
  );
  assertError(
    await send('{"input":"a"}', { 'content-type': 'application/x-www-form-urlencoded' }),
    415,
    'unsupported_media_type',
    /must be application\/json; POST \/jobs takes .* curl sends application\/x-www-form-urlencoded unless told/,
    'content-type',
  );
  const large = await send(JSON.stringify({ input: 'x'.repeat(1000) }));
  assertError(large, 413, 'body_too_large', /MAX_BODY_BYTES, 1000 bytes/);
});

test('the OpenAI path ignores further fields, as its clients send them', async (t) => {
  const { post } = await apiRig(t);
  assert.equal((await post('/v1/embeddings', { input: 'a', extra_body: 1 })).statusCode, 200);
});

test('models are found by name; an unknown one is answered with those there are', async (t) => {
  const small = { ...FAKE_MODEL, name: 'small', fingerprint: 'small-1', outputs: ['dense'] as const };
  const { post, state } = await apiRig(t, { workers: [announcement(FAKE_MODEL), announcement(small)] });
  assertError(
    await post('/embeddings', { input: 'a', model: 'bge' }),
    404,
    'unknown_model',
    /"bge"; there is fake, small/,
    'model',
  );
  assertError(
    await post('/embeddings', { input: 'a', model: 'small', outputs: ['dense', 'sparse'] }),
    400,
    'unknown_output',
    /"sparse" is not an output of the model small; there is dense/,
    'outputs',
  );
  state.workers = [announcement(small)];
  const absent = await post('/embeddings', { input: 'a' });
  assertError(absent, 503, 'model_unavailable', /No worker serves the model fake/);
  assert.equal(absent.headers['retry-after'], '5');
});

test('a model configured by its folder is found by its name', async (t) => {
  const { post } = await apiRig(t, { env: { MODEL: '/models/fake' } });
  assert.equal((await post('/embeddings', { input: 'a' })).statusCode, 200);
  assert.equal((await post('/embeddings', { input: 'a', model: 'fake' })).statusCode, 200);
});

test('a folder whose files say another name is the one model there is, not one of several', async (t) => {
  const { post, state } = await apiRig(t, { env: { MODEL: './models/mini' } });
  assert.equal((await post('/embeddings', { input: 'a' })).json().model, 'fake');
  assert.equal((await post('/embeddings', { input: 'a', model: 'fake' })).statusCode, 200);
  state.workers.push(announcement({ ...FAKE_MODEL, name: 'other', fingerprint: 'other-1' }));
  assertError(await post('/embeddings', { input: 'a' }), 503, 'model_unavailable', /models\/mini/);
});

test('during a rolling upgrade a request goes to the revision of the newest worker', async (t) => {
  const old = { ...FAKE_MODEL, fingerprint: 'fake-0' };
  const { post, state } = await apiRig(t);
  state.workers = [announcement(old, { startedAtMs: 1 }), announcement(FAKE_MODEL, { startedAtMs: 2 })];
  assert.equal((await post('/embeddings', { input: 'a' })).statusCode, 200);
});

test('one text that the model cannot run refuses the request by its name', async (t) => {
  const { post } = await apiRig(t);
  assertError(
    await post('/embeddings', { input: ['a', POISON] }),
    500,
    'model_failed',
    /^input\[1\]: The model failed/,
    'input[1]',
  );
});

test('the lane gets the deadline that the options say', async (t) => {
  const { post, state } = await apiRig(t, { env: { REQUEST_TIMEOUT_MS: '1234' } });
  const before = Date.now();
  await post('/embeddings', { input: 'a' });
  const deadline = state.requests[0]?.deadlineAtMs ?? 0;
  assert.ok(deadline >= before + 1234 && deadline <= Date.now() + 1234);
});

test('a client that leaves withdraws its work', async (t) => {
  const withdrawn = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  const { app } = await apiRig(t, {
    deps: {
      backend: {
        kind: 'embedded',
        ping: async () => {},
        registry: { list: async () => [announcement(FAKE_MODEL)] } as never,
        interactive: {
          request: (_fingerprint: string, _task: unknown, { signal }: { signal: AbortSignal }) => {
            started.resolve();
            return new Promise((_resolve, reject) =>
              signal.addEventListener('abort', () => {
                withdrawn.resolve();
                reject(new Error('left'));
              }),
            );
          },
        } as never,
      },
    },
  });
  const address = await app.listen({ host: '127.0.0.1', port: 0 });
  const controller = new AbortController();
  const call = fetch(`${address}/embeddings`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"input":"a"}',
    signal: controller.signal,
  });
  await started.promise;
  controller.abort();
  await assert.rejects(call);
  await withdrawn.promise;
});

test('a large answer goes out in pieces and is whole', async (t) => {
  const { post } = await apiRig(t);
  const input = Array.from({ length: 2048 }, (_, index) => `${'w'.repeat(1 + (index % 50))} b c d e f`);
  const response = await post('/embeddings', { input, outputs: ['dense', 'sparse', 'colbert'] });
  assert.ok(response.body.length > 2 * 256 * 1024);
  assert.equal(response.headers['content-length'], undefined);
  const { data } = response.json();
  assert.equal(data.length, input.length);
  assert.ok(
    data.every(
      ({ index, tokens }: { index: number; tokens: number }, at: number) => index === at && tokens === 8,
    ),
  );
});
