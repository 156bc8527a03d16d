import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { EmbeddingCache, type TextOutcome } from '@trivec/api/embeddingCache';
import type { EmbedTask } from '@trivec/core/engine/tasks';
import fc from 'fast-check';
import { announcement, apiRig } from '../../support/apiRig.ts';
import { FAKE_MODEL, POISON } from '../../support/fakeEngine.ts';

const OFF = { env: { EMBEDDING_CACHE_MB: '0' } };
const long = 'one two three four five six seven eight';

const task: EmbedTask = {
  kind: 'embed',
  texts: [],
  outputs: ['dense', 'sparse'],
  normalize: true,
  truncate: true,
  truncationDirection: 'right',
};

function outcome(values = 4): TextOutcome {
  const vector = { tokens: 3, dense: new Float32Array(values) };
  return { vector, originalTokens: 3, truncated: false, maxTokens: 8 };
}

/** The texts that reached the tokenizer, a list a task. */
function watchEncode(t: TestContext, engine: { encode: (texts: readonly string[]) => unknown }) {
  const { mock } = t.mock.method(engine, 'encode');
  return () => mock.calls.map(({ arguments: [texts] }) => texts);
}

test('an answer with the cache is that without it, whatever was asked before', async (t) => {
  const without = await apiRig(t, OFF);
  const withCache = await apiRig(t);
  const text = fc.constantFrom('a', 'a bb', 'ccc', long, POISON, '', '\ud800', '\ud801', 'Grüße');
  const ids = fc.constantFrom([11], [11, 12]);
  const body = fc.record(
    {
      input: fc.array(fc.oneof(text, ids), { minLength: 1, maxLength: 6 }),
      outputs: fc.subarray(['dense', 'sparse', 'colbert'], { minLength: 1 }),
      dimensions: fc.integer({ min: 1, max: 5 }),
      normalize: fc.boolean(),
      truncate: fc.boolean(),
      truncationDirection: fc.constantFrom('left', 'right'),
      prompt: fc.constantFrom('', 'a '),
      partial: fc.boolean(),
    },
    { requiredKeys: ['input'] },
  );
  const answer = async ({ post }: typeof without, payload: object) => {
    const { statusCode, body: text, headers } = await post('/embeddings', payload);
    const { timings, ...parsed } = JSON.parse(text);
    if (parsed.error !== undefined) parsed.error.requestId = '';
    return { statusCode, parsed, timings: Object.keys(timings ?? {}), type: headers['content-type'] };
  };
  await fc.assert(
    fc.asyncProperty(body, async (payload) => {
      assert.deepEqual(await answer(withCache, payload), await answer(without, payload));
    }),
    { numRuns: 150 },
  );
  const hits = async ({ get }: typeof without) =>
    Number(/trivec_embedding_cache_hits_total\{model="fake"\} (\d+)/.exec((await get('/metrics')).body)?.[1]);
  assert.ok((await hits(withCache)) > 0);
  assert.equal(await hits(without), 0, 'twins in a request are no hits of a cache that is off');
});

test('only what is not known runs, each text once; usage, limits and metrics count all', async (t) => {
  const { post, get, engine, state } = await apiRig(t);
  const encoded = watchEncode(t, engine);
  const first = await post('/embeddings', { input: ['a', 'bb', 'a'] });
  assert.deepEqual(encoded(), [['a', 'bb']]);
  const second = await post('/embeddings', { input: ['bb', 'ccc', 'a', 'ccc'], timings: true });
  assert.deepEqual(encoded().at(-1), ['ccc']);
  assert.deepEqual(second.json().usage, { prompt_tokens: 12, total_tokens: 12 });
  assert.deepEqual(second.json().data[2].embedding, first.json().data[0].embedding);
  const requests = state.requests.length;
  const third = await post('/embeddings', { input: 'a', timings: true });
  assert.equal(state.requests.length, requests);
  assert.deepEqual(third.json().timings, { queueMs: 0, tokenizeMs: 0, inferMs: 0 });
  const metrics = (await get('/metrics')).body;
  assert.match(metrics, /trivec_embedding_cache_hits_total\{model="fake"\} 3/);
  assert.match(metrics, /trivec_request_twins_total\{model="fake"\} 2/);
  assert.match(metrics, /trivec_embedding_cache_misses_total\{model="fake"\} 3/);
  assert.match(metrics, /trivec_request_texts_total\{model="fake"\} 8/);
  assert.match(metrics, /trivec_request_tokens_total\{model="fake"\} 24/);
  assert.match(metrics, /trivec_embedding_cache_bytes [1-9]/);
});

test('texts that failed run again; their neighbours are known', async (t) => {
  const { post, engine } = await apiRig(t);
  const encoded = watchEncode(t, engine);
  const input = ['a', POISON, POISON];
  const failed = await post('/embeddings', { input, partial: true });
  assert.deepEqual(
    failed.json().data.map(({ error }: { error?: { message: string } }) => error?.message),
    [undefined, 1, 2].map((index) => index && `input[${index}]: The model failed on this text.`),
  );
  await post('/embeddings', { input, partial: true });
  assert.deepEqual(encoded(), [['a', POISON], [POISON]]);
});

test('a new fingerprint of the model knows nothing of the old one', async (t) => {
  const { post, state } = await apiRig(t);
  assert.equal((await post('/embeddings', { input: 'a' })).statusCode, 200);
  state.workers = [announcement({ ...FAKE_MODEL, fingerprint: 'fake-2' })];
  assert.equal((await post('/embeddings', { input: 'a' })).statusCode, 503, 'nobody runs this one');
});

test('what one key asked is no hit for another', async (t) => {
  const [anna, bert] = ['anna-anna-anna-anna', 'bert-bert-bert-bert'];
  const { post, engine } = await apiRig(t, { env: { API_KEYS: `anna=${anna},bert=${bert}` } });
  const encoded = watchEncode(t, engine);
  for (const key of [anna, bert, anna, bert])
    assert.equal(
      (await post('/embeddings', { input: 'a' }, { authorization: `Bearer ${key}` })).statusCode,
      200,
    );
  assert.equal(encoded().length, 2);
});

test('every option is part of the key', () => {
  const cache = new EmbeddingCache({ embeddingCacheMb: 1 });
  cache.of('', 'f', task).set('a', outcome());
  const other: EmbedTask[] = [
    { ...task, outputs: ['dense'] },
    { ...task, dimensions: 2 },
    { ...task, normalize: false },
    { ...task, truncate: false },
    { ...task, truncationDirection: 'left' },
    { ...task, maxTokens: 5 },
    { ...task, returnTokenIds: true },
  ];
  for (const each of other) assert.equal(cache.of('', 'f', each).get('a'), undefined, JSON.stringify(each));
  assert.equal(cache.of('', 'f', task).get('b'), undefined);
  assert.deepEqual(cache.of('', 'f', { ...task, outputs: ['sparse', 'dense'] }).get('a'), outcome());
});

test('the bytes are bounded, the oldest goes first, and no entry keeps its batch or half the cache', () => {
  const cache = new EmbeddingCache({ embeddingCacheMb: 1 });
  const view = cache.of('', 'f', task);
  const values = 2 ** 14;
  for (let text = 0; text < 40; text++) view.set(`${text}`, outcome(values));
  assert.ok(cache.bytes <= 2 ** 20 && cache.bytes > 2 ** 19, `${cache.bytes}`);
  assert.equal(view.get('0'), undefined);
  assert.ok(view.get('39') !== undefined);
  view.set('large', outcome(2 ** 16));
  assert.equal(view.get('large'), undefined);
  const batch = new Float32Array(1000).fill(1);
  view.set('part', { ...outcome(), vector: { tokens: 3, dense: batch.subarray(4, 8) } });
  batch.fill(2);
  const known = view.get('part')?.vector;
  assert.ok(known !== undefined && 'dense' in known);
  assert.deepEqual(known.dense, new Float32Array(4).fill(1));
  assert.equal(known.dense?.buffer.byteLength, 16);
});
