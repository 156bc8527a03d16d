import assert from 'node:assert/strict';
import test from 'node:test';
import { joinPair, joinPrompt } from '@trivec/core/models/pairs';
import fc from 'fast-check';

const frame = { before: [0], middle: [2, 2], after: [2], hasTypes: false };
const numbers = (from: number, count: number) => Int32Array.from({ length: count }, (_, i) => from + i);

test('a pair that fits stays whole, and says where the second text begins if types matter', () => {
  const pair = joinPair(numbers(10, 2), numbers(20, 3), { ...frame, hasTypes: true }, 100);
  assert.deepEqual([...pair.ids], [0, 10, 11, 2, 2, 20, 21, 22, 2]);
  assert.deepEqual([pair.originalTokens, pair.secondFrom], [9, 5]);
  assert.equal(joinPair(numbers(10, 2), numbers(20, 3), frame, 100).secondFrom, 0);
});

test('the query keeps at most three quarters, the passage what is left', () => {
  const { ids, originalTokens } = joinPair(numbers(100, 50), numbers(200, 50), frame, 20);
  assert.deepEqual([...ids], [0, ...numbers(100, 15), 2, 2, 200, 2]);
  assert.equal(originalTokens, 104);
});

test('no pair is longer than it may be, and the frame survives', () => {
  const size = fc.nat({ max: 60 });
  fc.assert(
    fc.property(size, size, fc.integer({ min: 5, max: 60 }), (query, passage, maxTokens) => {
      const { ids } = joinPair(numbers(100, query), numbers(200, passage), frame, maxTokens);
      assert.equal(ids.length, Math.min(maxTokens, ids.length));
      assert.deepEqual([ids[0], ids.at(-1), ids.filter((id) => id === 2).length], [0, 2, 3]);
      if (query + passage + 4 <= maxTokens && query <= Math.floor((maxTokens * 3) / 4))
        assert.equal(ids.length, query + passage + 4);
    }),
  );
});

test('of a prompt only the body is cut', () => {
  const { ids, originalTokens } = joinPrompt(numbers(1, 2), numbers(50, 10), numbers(8, 2), 7);
  assert.deepEqual([...ids], [1, 2, 50, 51, 52, 8, 9]);
  assert.equal(originalTokens, 14);
});
