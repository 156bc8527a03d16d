import assert from 'node:assert/strict';
import test from 'node:test';
import { announcement, apiRig, assertError } from '../../support/apiRig.ts';
import { FAKE_MODEL, POISON } from '../../support/fakeEngine.ts';

const long = 'one two three four five six seven eight';

test('the dense vector in every encoding, with and without outputs', async (t) => {
  const { post } = await apiRig(t);
  const of = async (encoding_format: string, outputs?: string[]) => {
    const [item] = (await post('/embeddings', { input: 'a', encoding_format, outputs })).json().data;
    return item;
  };
  const float: number[] = (await of('float')).embedding;
  const bytes = Buffer.from((await of('base64', ['dense'])).dense, 'base64');
  assert.deepEqual(
    float.map((_, i) => bytes.readFloatLE(i * 4)),
    [...Float32Array.from(float)],
  );
  const int8 = await of('int8');
  assert.ok(float.every((x, i) => Math.abs(x - int8.scale * int8.embedding[i]) <= int8.scale / 2 + 1e-7));
  assert.deepEqual(
    (await of('uint8', ['dense'])).dense,
    int8.embedding.map((value: number) => value + 128),
  );
  const [bits] = (await of('ubinary')).embedding;
  assert.equal(
    bits,
    float.reduce((sum, x, i) => sum + (x > 0 ? 0x80 >> i : 0), 0),
  );
  assert.deepEqual((await of('binary')).embedding, [bits - 128]);
});

test('sparse weights by token, the heaviest first', async (t) => {
  const { post } = await apiRig(t);
  const body = { input: 'a bbb', outputs: ['sparse'], sparseFormat: 'tokens' };
  assert.deepEqual((await post('/embeddings', body)).json().data[0].sparse, [
    { id: 13, token: 'xxx', weight: 0.13 },
    { id: 11, token: 'x', weight: 0.11 },
  ]);
});

test('token ids are embedded as the text that they stand for', async (t) => {
  const { post } = await apiRig(t);
  const ofText = (await post('/embeddings', { input: 'xx xxx' })).json();
  for (const input of [[0, 12, 13, 2], [[12, 13]], ['xx xxx', [12, 13]]]) {
    const ofIds = (await post('/embeddings', { input })).json();
    for (const { embedding } of ofIds.data) assert.deepEqual(embedding, ofText.data[0].embedding);
  }
  assertError(await post('/embeddings', { input: [[]] }), 400, 'empty_input', /^input\[0\] is an empty text/);
  assertError(await post('/embeddings', { input: [-1] }), 400, 'invalid_request', /^input\[0\]/);
});

test('a prompt stands before every text; the model has its own, by name and by type', async (t) => {
  const model = { ...FAKE_MODEL, prompts: { query: 'q: ' } };
  const { post } = await apiRig(t, { workers: [announcement(model)] });
  const vector = async (body: object) => (await post('/embeddings', body)).json().data[0].embedding;
  const plain = await vector({ input: 'a' });
  const prompted = await vector({ input: 'q: a' });
  assert.notDeepEqual(plain, prompted);
  assert.deepEqual(await vector({ input: 'a', prompt: 'q: ' }), prompted);
  assert.deepEqual(await vector({ input: 'a', promptName: 'query' }), prompted);
  assert.deepEqual(await vector({ input: 'a', inputType: 'query' }), prompted);
  assert.deepEqual(await vector({ input: 'a', inputType: 'document' }), plain);
  assertError(
    await post('/embeddings', { input: 'a', promptName: 'passage' }),
    400,
    'invalid_request',
    /fake has no prompt "passage"; it has query/,
    'promptName',
  );
  assertError(
    await post('/embeddings', { input: 'a', prompt: 'x', inputType: 'query' }),
    400,
    'invalid_request',
    /^Give one of prompt, inputType/,
    'inputType',
  );
});

test('partial: a bad text has its own error beside the vectors of the others', async (t) => {
  const { post } = await apiRig(t, { env: { MAX_INPUT_CHARS: '60' } });
  const input = ['a', '', POISON, long, 'x'.repeat(61), 'b'];
  for (const outputs of [undefined, ['dense', 'sparse']]) {
    const response = await post('/embeddings', { input, outputs, partial: true, truncate: false });
    assert.equal(response.statusCode, 200, response.body);
    const { data, usage } = response.json();
    assert.deepEqual(
      data.map(({ error }: { error?: { code: string } }) => error?.code),
      [undefined, 'empty_input', 'model_failed', 'text_too_long', 'text_too_long', undefined],
    );
    assert.match(data[3].error.message, /^input\[3\] has 10 tokens; fake reads at most 8/);
    assert.deepEqual(usage, { prompt_tokens: 6, total_tokens: 6 });
  }
  const alone = await post('/embeddings', { input: 'a' });
  const beside = await post('/embeddings', { input, partial: true });
  assert.deepEqual(beside.json().data[0], alone.json().data[0]);
});

test('timings where they are asked for, and a time of its own for a request', async (t) => {
  const { post, state } = await apiRig(t);
  const response = await post('/embeddings', { input: 'a', timings: true, timeoutMs: 500 });
  assert.deepEqual(Object.keys(response.json().timings), ['queueMs', 'tokenizeMs', 'inferMs']);
  const deadline = state.requests[0]?.deadlineAtMs ?? 0;
  assert.ok(deadline <= Date.now() + 500);
});

test('a request of more than a batch is cut into parts and joined, errors with their own place', async (t) => {
  const { post, state } = await apiRig(t);
  const input = Array.from(
    { length: 100 },
    (_, i) => `${String.fromCharCode(97 + i / 9).repeat(1 + (i % 9))} b`,
  );
  const all = (await post('/embeddings', { input, outputs: ['dense'] })).json();
  assert.ok(state.requests.length > 2, `${state.requests.length} tasks`);
  assert.equal(all.usage.total_tokens, 400);
  for (const index of [0, 17, 99]) {
    const [own] = (await post('/embeddings', { input: input[index], outputs: ['dense'] })).json().data;
    assert.deepEqual({ ...all.data[index], index: 0 }, own);
  }
  input[83] = long;
  assertError(
    await post('/embeddings', { input, truncate: false }),
    422,
    'text_too_long',
    /^input\[83\] has 10 tokens/,
    'input[83]',
  );
  const { warnings } = (await post('/embeddings', { input })).json();
  assert.deepEqual(warnings, [{ code: 'input_truncated', index: 83, maxTokens: 8, originalTokens: 10 }]);
});
