import assert from 'node:assert/strict';
import test from 'node:test';
import { TrivecError } from '@trivec/core/errors';
import { retryDelayMs } from '@trivec/core/queue/retryDelay';
import fc from 'fast-check';

test('the delay doubles with each attempt, up to a minute', () => {
  const most = [1, 2, 3, 8, 9, 40].map((attempt) => retryDelayMs(attempt, new Error(), () => 1));
  assert.deepEqual(most, [500, 1_000, 2_000, 60_000, 60_000, 60_000]);
});

test('a delay that the error asks for is kept', () => {
  const error = new TrivecError('storage_full', 'no space', { retryAfterSeconds: 7 });
  assert.equal(
    retryDelayMs(1, error, () => 0),
    7_000,
  );
});

test('it is never zero, never above a minute, and never less than asked', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2 ** 31 }),
      fc.option(fc.integer({ min: 1, max: 30 })),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (attempt, asked, random) => {
        const details = asked === null ? {} : { retryAfterSeconds: asked };
        const error = new TrivecError('overloaded', 'busy', details);
        const delayMs = retryDelayMs(attempt, error, () => random);
        assert.ok(Number.isInteger(delayMs) && delayMs >= 250 && delayMs <= 60_000);
        assert.ok(delayMs >= (asked ?? 0) * 1_000);
      },
    ),
  );
});
