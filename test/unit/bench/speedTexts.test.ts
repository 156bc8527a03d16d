import assert from 'node:assert/strict';
import test from 'node:test';
import {
  logNormalLengths,
  packAsEngine,
  packByCount,
  packFirstCome,
  paddingEfficiency,
  percentile,
} from '../../../bench/speed/texts.ts';

test('the lengths have the distribution that is promised, and are the same every time', () => {
  const lengths = logNormalLengths(10_000);
  assert.ok(Math.abs(percentile(lengths, 0.5) - 120) <= 1);
  assert.ok(Math.abs(percentile(lengths, 0.95) - 500) <= 5);
  assert.equal(Math.max(...lengths), 2000);
  assert.deepEqual(logNormalLengths(50), logNormalLengths(50));
  assert.notDeepEqual(
    logNormalLengths(50),
    logNormalLengths(50).toSorted((a, b) => a - b),
  );
});

test('every way to pack runs each text once, within its bound', () => {
  const lengths = logNormalLengths(200);
  const ways = [packAsEngine(lengths, 1024), packByCount(lengths, 32), packFirstCome(lengths, 1024)];
  for (const batches of ways)
    assert.deepEqual(
      batches.flat().sort((a, b) => a - b),
      lengths.toSorted((a, b) => a - b),
    );
  for (const batch of [...ways[0]!, ...ways[2]!])
    assert.ok(batch.length === 1 || Math.max(...batch) * batch.length <= 1024);
  assert.ok(ways[1]!.every((batch) => batch.length <= 32));
  assert.deepEqual(packFirstCome([10, 10, 90, 5], 100), [[10, 10], [90], [5]]);
});

test('percentiles and efficiency', () => {
  assert.equal(percentile([3, 1, 2, 4], 0.5), 2);
  assert.equal(percentile([3, 1, 2, 4], 0.99), 4);
  assert.equal(paddingEfficiency([[10, 5], [5]]), 0.8);
});
