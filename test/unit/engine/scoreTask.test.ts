import assert from 'node:assert/strict';
import test from 'node:test';
import { executeTask } from '@trivec/core/engine/executeTask';
import type { ScoreTask } from '@trivec/core/engine/tasks';
import type { OutputScores } from '@trivec/core/vectors/scores';
import { FakeEngine, POISON } from '../../support/fakeEngine.ts';

const context = { deadlineAtMs: 5000, queuedMs: 7, signal: new AbortController().signal };
const task: ScoreTask = {
  kind: 'score',
  pairs: [
    ['a', 'bb'],
    ['a', 'ccc'],
  ],
  normalize: false,
  truncate: true,
};

/** A reranker whose logit is the sum of the ids, less 40: 0 + 11 + 11 + 12 + 2 − 40 for the first pair. */
const reranker = () => new FakeEngine({ kind: 'reranker', outputs: [] });

test('a reranker gives each pair its logit, or the sigmoid of it', async () => {
  const raw = await executeTask(reranker(), task, context);
  assert.deepEqual(raw.scores, [
    { score: -4, tokens: 5 },
    { score: -3, tokens: 5 },
  ]);
  assert.ok(raw.timings.queueMs >= 7);
  const normalized = await executeTask(reranker(), { ...task, normalize: true }, context);
  const [first] = normalized.scores;
  assert.ok(first && 'score' in first && Math.abs(first.score - 1 / (1 + Math.exp(4))) < 1e-12);
});

test('a pair that cannot be run is an error in its place; one that was cut says so', async () => {
  const pairs = [
    ['a', POISON],
    ['a', 'b c d e f g h'],
  ] as const;
  const reply = await executeTask(reranker(), { ...task, pairs }, context);
  assert.equal('error' in reply.scores[0]! && reply.scores[0].error.code, 'model_failed');
  assert.deepEqual([reply.truncated, reply.maxTokens], [[false, true], 8]);
  await assert.rejects(executeTask(reranker(), { ...task, pairs, truncate: false }, context), {
    code: 'text_too_long',
    param: 'pairs[1]',
  });
});

test('an embedding model compares vectors; each text is embedded once, for the outputs that count', async () => {
  const engine = new FakeEngine();
  const { scores } = await executeTask(engine, { ...task, weights: { dense: 3, sparse: 1 } }, context);
  assert.deepEqual(engine.embedCalls[0]?.outputs, ['dense', 'sparse']);
  const { vectors } = await engine.embed(await engine.encode(['a', 'bb']), {
    outputs: ['dense', 'sparse'],
    lane: 'bulk',
  });
  const [a, b] = vectors.map((vector) => ('dense' in vector ? vector.dense! : new Float32Array(4)));
  const dense = a!.reduce((sum, value, i) => sum + value * b![i]!, 0);
  const [first] = scores;
  assert.ok(first && 'score' in first);
  assert.ok(Math.abs(first.dense! - dense) < 1e-6);
  assert.deepEqual([first.sparse, first.colbert, first.tokens], [0, undefined, 6]);
  assert.ok(Math.abs(first.score - (3 * dense) / 4) < 1e-6);
});

test('without weights, FlagEmbedding’s for the outputs that the model has', async () => {
  const engine = new FakeEngine({ outputs: ['dense', 'colbert'] });
  const { scores } = await executeTask(engine, task, context);
  assert.deepEqual(engine.embedCalls[0]?.outputs, ['dense', 'colbert']);
  const [first] = scores;
  assert.ok(first && 'score' in first);
  assert.ok(Math.abs(first.score - (0.4 * first.dense! + 0.4 * first.colbert!) / 0.8) < 1e-9);
});

test('weights that count nothing, or something that is not there, are refused by name', async () => {
  const engine = new FakeEngine({ outputs: ['dense'] });
  const refused = (weights: OutputScores, code: string, param: string) =>
    assert.rejects(executeTask(engine, { ...task, weights }, context), { code, param });
  await refused({ sparse: 1 }, 'unknown_output', 'weights.sparse');
  await refused({ dense: 0 }, 'invalid_request', 'weights');
  await refused({ dense: Number.NaN }, 'invalid_request', 'weights');
});
