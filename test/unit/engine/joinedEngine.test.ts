import assert from 'node:assert/strict';
import test from 'node:test';
import { JoinedEngine } from '@trivec/core/engine/joinedEngine';
import type { EncodedText } from '@trivec/core/engine/types';
import { TrivecError } from '@trivec/core/errors';
import type { TextVectors } from '@trivec/core/vectors/types';
import { FakeEngine, POISON } from '../../support/fakeEngine.ts';

const DENSE = {
  name: 'dense',
  fingerprint: 'dense-1',
  outputs: ['dense'] as const,
  denseDims: 6,
  colbertDims: 0,
  maxTokens: 20,
  prompts: { query: 'find this ', passage: '' },
};

const lexical = () => new FakeEngine({ name: 'lexical', aliases: ['lex'], maxTokens: 8 });

test('one model’s dense vectors stand beside the other’s sparse and ColBERT vectors', async () => {
  const [sparse, dense] = [lexical(), new FakeEngine(DENSE)];
  const joined = new JoinedEngine(sparse, dense);
  assert.deepEqual(
    [joined.model.name, joined.model.aliases, joined.model.outputs, joined.model.maxTokens],
    ['lexical+dense', ['lexical', 'lex'], ['dense', 'sparse', 'colbert'], 8],
  );
  assert.deepEqual([joined.model.denseDims, joined.model.colbertDims], [6, 2]);
  assert.match(joined.model.fingerprint, /^[0-9a-f]{32}$/);
  const texts = await joined.encode(['one two', 'three']);
  const { vectors, inferMs } = await joined.embed(texts, { outputs: joined.model.outputs, lane: 'bulk' });
  const alone = async (engine: FakeEngine, outputs: ('dense' | 'sparse' | 'colbert')[]) =>
    (await engine.embed(await engine.encode(['one two', 'three']), { outputs, lane: 'bulk' })).vectors;
  const [others, denses] = [await alone(sparse, ['sparse', 'colbert']), await alone(dense, ['dense'])];
  assert.deepEqual(
    vectors,
    others.map((other, i) => ({ ...other, dense: (denses[i] as TextVectors).dense })),
  );
  assert.equal(inferMs, 2);
});

test('only the model that is asked runs, and the cut of the dense vector reaches that one', async () => {
  const [sparse, dense] = [lexical(), new FakeEngine(DENSE)];
  const joined = new JoinedEngine(sparse, dense);
  const texts = await joined.encode(['one']);
  await joined.embed(texts, { outputs: ['sparse'], lane: 'bulk' });
  assert.deepEqual([sparse.embedCalls.length, dense.embedCalls.length], [1, 0]);
  const { vectors } = await joined.embed(texts, { outputs: ['dense'], lane: 'bulk', dimensions: 3 });
  assert.equal(sparse.embedCalls.length, 1);
  assert.equal((vectors[0] as TextVectors).dense?.length, 3);
});

test('a prompt of the dense model leaves no words in the sparse vector', async () => {
  const joined = new JoinedEngine(lexical(), new FakeEngine(DENSE));
  const [prompted, plain] = await joined.encode(['find this one', 'one']);
  assert.deepEqual(prompted!.ids, plain!.ids);
  const dense = async (text: EncodedText) =>
    (await joined.embed([text], { outputs: ['dense'], lane: 'bulk' })).vectors[0] as TextVectors;
  assert.notDeepEqual((await dense(prompted!)).dense, (await dense(plain!)).dense);
  assert.equal(joined.model.prompts?.query, 'find this ');
});

test('a text that either model cuts is cut, one that either fails on has failed', async () => {
  const joined = new JoinedEngine(lexical(), new FakeEngine({ ...DENSE, maxTokens: 4 }));
  const [text] = await joined.encode(['one two three four']);
  assert.ok(text!.originalTokens > text!.ids.length);
  const [bad, good] = (
    await joined.embed(await joined.encode([POISON, 'good']), { outputs: ['dense', 'sparse'], lane: 'bulk' })
  ).vectors;
  assert.ok(bad instanceof TrivecError);
  assert.ok(good !== undefined && !(good instanceof TrivecError));
});

test('chunks of jobs are as short as the shorter limit of the two', () => {
  const [sparse, dense] = [lexical(), new FakeEngine(DENSE)];
  assert.equal(new JoinedEngine(sparse, dense).maxBulkTokens, 8);
  const limited = (engine: FakeEngine, maxBulkTokens: number) => Object.assign(engine, { maxBulkTokens });
  assert.equal(new JoinedEngine(limited(sparse, 8), limited(dense, 5)).maxBulkTokens, 5);
});

test('models that give nothing to join are refused by name', async () => {
  assert.throws(() => new JoinedEngine(new FakeEngine({ outputs: ['dense'] }), new FakeEngine(DENSE)), {
    code: 'invalid_config',
    param: 'DENSE_MODEL',
    message: /neither sparse nor ColBERT/,
  });
  assert.throws(() => new JoinedEngine(lexical(), new FakeEngine({ outputs: ['sparse'] })), {
    code: 'invalid_config',
    message: /gives no dense/,
  });
  await assert.rejects(new JoinedEngine(lexical(), new FakeEngine(DENSE)).score(), {
    code: 'invalid_request',
  });
});
