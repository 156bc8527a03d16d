import assert from 'node:assert/strict';
import test from 'node:test';
import type { Shape } from '@trivec/core/engine/costModel';
import { byLength, chooseBatch, chooseLane, type Waiting } from '@trivec/core/engine/pack';
import { TokenBudget } from '@trivec/core/engine/tokenBudget';
import fc from 'fast-check';

const waiting = fc.array(
  fc.record({ tokens: fc.integer({ min: 1, max: 9000 }), arrival: fc.integer({ min: 0, max: 9 }) }),
  { maxLength: 120 },
);
const budgets = fc.integer({ min: 1, max: 20_000 });

const costs = fc.constantFrom(undefined, costOf(0.1), costOf(50));

/** Of a processor: every padded token costs; `fixedMs` decides how far company pays. */
function costOf(fixedMs: number): (shape: Shape) => number {
  return ({ count, length }) => fixedMs + 0.13 * count * length + 0.00016 * count * length ** 2;
}

function drain(
  items: readonly Waiting[],
  maxBatchTokens: number,
  withLonger: boolean,
  costMs?: (shape: Shape) => number,
): Waiting[][] {
  const pool = items.toSorted(byLength);
  const batches: Waiting[][] = [];
  while (pool.length > 0) {
    const { from, to } = chooseBatch(pool, { maxBatchTokens, withLonger, costMs });
    assert.ok(to > from, 'a pool that is not empty gives a batch');
    batches.push(pool.splice(from, to - from));
  }
  return batches;
}

test('every text is in one batch exactly, and no batch of several is over budget', () => {
  fc.assert(
    fc.property(waiting, budgets, fc.boolean(), costs, (items, budget, withLonger, costMs) => {
      const batches = drain(items, budget, withLonger, costMs);
      assert.equal(batches.flat().length, items.length);
      assert.equal(new Set(batches.flat()).size, items.length);
      for (const batch of batches) {
        const longest = Math.max(...batch.map(({ tokens }) => tokens));
        assert.ok(batch.length === 1 || longest * batch.length <= budget);
      }
    }),
  );
});

test('the longest text of the call that came first is in the next batch', () => {
  fc.assert(
    fc.property(waiting, budgets, fc.boolean(), costs, (items, budget, withLonger, costMs) => {
      fc.pre(items.length > 0);
      const pool = items.toSorted(byLength);
      const { from, to } = chooseBatch(pool, { maxBatchTokens: budget, withLonger, costMs });
      const first = Math.min(...items.map(({ arrival }) => arrival));
      const longest = Math.max(
        ...items.filter(({ arrival }) => arrival === first).map(({ tokens }) => tokens),
      );
      const batch = pool.slice(from, to);
      assert.ok(batch.some(({ arrival, tokens }) => arrival === first && tokens === longest));
      if (!withLonger) assert.equal(batch[0]!.tokens, longest);
    }),
  );
});

test('calls end one after the other, so that the device has work while the next is fetched', () => {
  const shards = [0, 1, 2, 3, 4, 5].map((arrival) =>
    Array.from({ length: 100 }, (_, i) => ({ arrival, tokens: 20 + ((i * 37 + arrival * 11) % 400) })),
  );
  const pool: Waiting[] = [];
  const left = new Map<number, number>();
  let next = 0;
  while (next < shards.length) {
    while (left.size < 2 && next < shards.length) {
      left.set(next, shards[next]!.length);
      pool.push(...shards[next++]!);
    }
    pool.sort(byLength);
    const { from, to } = chooseBatch(pool, { maxBatchTokens: 1024, withLonger: false, costMs: costOf(4) });
    for (const { arrival } of pool.splice(from, to - from)) {
      const texts = left.get(arrival)! - 1;
      if (texts > 0) left.set(arrival, texts);
      else left.delete(arrival);
    }
    assert.ok(pool.length >= 20, `only ${pool.length} texts at hand after shard ${next - 1} came`);
  }
});

test('neighbours in length keep padding low', () => {
  const lengths = Array.from({ length: 2000 }, (_, i) =>
    Math.round(Math.exp(4.8 + 0.9 * Math.sin(i * 12.9898))),
  );
  const items = lengths.map((tokens) => ({ tokens, arrival: 0 }));
  const real = lengths.reduce((sum, tokens) => sum + tokens, 0);
  const padded = drain(items, 2048, false)
    .map((batch) => batch.length * Math.max(...batch.map(({ tokens }) => tokens)))
    .reduce((sum, tokens) => sum + tokens, 0);
  assert.ok(real / padded > 0.95, `packed to ${real / padded}`);
});

test('with a cost model no text is padded that had better run in another batch', () => {
  const items = [400, 390, 40, 38, 12].map((tokens) => ({ tokens, arrival: 0 }));
  const lengthsOf = (costMs?: (shape: Shape) => number) =>
    drain(items, 4096, false, costMs).map((batch) => batch.map(({ tokens }) => tokens));
  assert.deepEqual(lengthsOf(), [[400, 390, 40, 38, 12]]);
  assert.deepEqual(lengthsOf(costOf(4)), [[400, 390], [40, 38], [12]]);
  assert.deepEqual(
    lengthsOf(() => 5),
    [[400, 390, 40, 38, 12]],
  );
});

test('few texts at hand are embedded sooner with a cost model than without, whatever the budget', () => {
  const costMs = costOf(4);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 3, max: 1200 }), { minLength: 16, maxLength: 64 }), (lengths) => {
      const items = lengths.map((tokens) => ({ tokens, arrival: 0 }));
      const totalMs = (batches: Waiting[][]) =>
        batches.reduce((sum, batch) => sum + costMs({ count: batch.length, length: batch[0]!.tokens }), 0);
      assert.ok(totalMs(drain(items, 4096, false, costMs)) <= totalMs(drain(items, 4096, false)) * 1.02);
    }),
  );
});

test('interactive work goes first, until bulk has waited for its share', () => {
  const state = {
    interactiveWaiting: true,
    bulkWaiting: true,
    interactiveMsSinceBulk: 0,
    lastBulkMs: 100,
    bulkShare: 0.2,
  };
  assert.equal(chooseLane(state), 'interactive');
  assert.equal(chooseLane({ ...state, interactiveMsSinceBulk: 401 }), 'bulk');
  assert.equal(chooseLane({ ...state, interactiveMsSinceBulk: 401, bulkWaiting: false }), 'interactive');
  assert.equal(chooseLane({ ...state, interactiveWaiting: false }), 'bulk');
  assert.equal(chooseLane({ ...state, interactiveWaiting: false, bulkWaiting: false }), undefined);
});

test('the budget halves when memory runs out and climbs back to where it began, no higher', () => {
  const budget = new TokenBudget(2048);
  budget.outOfMemory(1500);
  assert.equal(budget.tokens, 750);
  budget.outOfMemory(1);
  assert.equal(budget.tokens, 32);
  for (let i = 0; i < 63; i++) budget.succeeded();
  assert.equal(budget.tokens, 32);
  for (let i = 0; i < 5000; i++) budget.succeeded();
  assert.equal(budget.tokens, 2048);
});
