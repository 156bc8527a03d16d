import assert from 'node:assert/strict';
import test from 'node:test';
import { executeTask } from '@trivec/core/engine/executeTask';
import type { EmbedTask } from '@trivec/core/engine/tasks';
import { FakeEngine, POISON } from '../../support/fakeEngine.ts';

const context = { deadlineAtMs: 5000, queuedMs: 7, signal: new AbortController().signal };
const embedTask: EmbedTask = {
  kind: 'embed',
  texts: ['a bb', 'one two three four five six seven eight'],
  outputs: ['dense'],
  normalize: true,
  truncate: true,
  truncationDirection: 'right',
};

test('embed answers in order, says what was cut and to what', async () => {
  const engine = new FakeEngine();
  const reply = await executeTask(engine, embedTask, context);
  assert.deepEqual(reply.originalTokens, [4, 10]);
  assert.deepEqual(reply.truncated, [false, true]);
  assert.equal(reply.maxTokens, 8);
  assert.deepEqual(
    reply.vectors.map((vector) => 'tokens' in vector && vector.tokens),
    [4, 8],
  );
  assert.ok(reply.timings.queueMs >= 7);
  assert.equal(reply.tokenIds, undefined);
});

test('embed hands deadline, signal, lane and options to the engine', async () => {
  const engine = new FakeEngine();
  await executeTask(engine, { ...embedTask, dimensions: 2, normalize: false }, context);
  assert.deepEqual(engine.embedCalls, [
    {
      outputs: ['dense'],
      lane: 'interactive',
      normalize: false,
      dimensions: 2,
      signal: context.signal,
      deadlineAtMs: 5000,
    },
  ]);
});

test('truncate: false refuses the whole task, naming the text and the limit, before the device runs', async () => {
  const engine = new FakeEngine();
  await assert.rejects(executeTask(engine, { ...embedTask, truncate: false }, context), {
    code: 'text_too_long',
    param: 'input[1]',
    message: /input\[1\] has 10 tokens; fake reads at most 8/,
  });
  assert.equal(engine.embedCalls.length, 0);
});

test('maxTokens lowers the limit and cannot raise it', async () => {
  const engine = new FakeEngine();
  const lower = await executeTask(engine, { ...embedTask, maxTokens: 4 }, context);
  assert.equal(lower.maxTokens, 4);
  assert.deepEqual(lower.truncated, [false, true]);
  const higher = await executeTask(engine, { ...embedTask, maxTokens: 100 }, context);
  assert.equal(higher.maxTokens, 8);
});

test('truncation from the left keeps the end', async () => {
  const reply = await executeTask(
    new FakeEngine(),
    {
      ...embedTask,
      texts: ['1 22 333 4444'],
      maxTokens: 4,
      truncationDirection: 'left',
      returnTokenIds: true,
    },
    context,
  );
  assert.deepEqual([...(reply.tokenIds?.[0] ?? [])], [0, 13, 14, 2]);
});

test('a text that the model cannot run is an error in its own place', async () => {
  const reply = await executeTask(new FakeEngine(), { ...embedTask, texts: ['a', POISON, 'b'] }, context);
  assert.ok('dense' in reply.vectors[0]!);
  assert.deepEqual(reply.vectors[1], {
    error: { code: 'model_failed', message: 'The model failed on this text.' },
  });
  assert.ok('dense' in reply.vectors[2]!);
});

test('tokenize gives ids and their strings, with and without the special tokens', async () => {
  const engine = new FakeEngine();
  const task = { kind: 'tokenize', texts: ['a bb', ''] } as const;
  const full = await executeTask(engine, { ...task, addSpecialTokens: true }, context);
  assert.deepEqual(full.texts[0], {
    ids: Int32Array.of(0, 11, 12, 2),
    tokens: ['<s>', 'x', 'xx', '</s>'],
    originalTokens: 4,
  });
  const bare = await executeTask(engine, { ...task, addSpecialTokens: false }, context);
  assert.deepEqual(bare.texts, [
    { ids: Int32Array.of(11, 12), tokens: ['x', 'xx'], originalTokens: 2 },
    { ids: Int32Array.of(), tokens: [], originalTokens: 0 },
  ]);
});

test('decode passes the choice about special tokens on', async () => {
  const engine = new FakeEngine();
  const task = { kind: 'decode', ids: [[0, 11, 2]] } as const;
  const kept = await executeTask(engine, { ...task, skipSpecialTokens: false }, context);
  assert.deepEqual(kept.texts, ['<s> x </s>']);
  const skipped = await executeTask(engine, { ...task, skipSpecialTokens: true }, context);
  assert.deepEqual(skipped.texts, ['x']);
});
