import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { setImmediate as eventLoop } from 'node:timers/promises';
import { printed } from '@trivec/api/vectorBody';
import { isTurnOver, nextTurn } from '@trivec/core/turns';

/** Prints so many KiB, and pauses after each. */
const body = (kibibytes: number) =>
  printed(function* (out) {
    for (let i = 0; i < kibibytes; i++) {
      out.raw('x'.repeat(1024));
      yield;
    }
  });

test('a body of one piece is printed in this turn; a larger one stands in line', async () => {
  let nowMs = performance.now();
  mock.method(performance, 'now', () => nowMs);
  try {
    await nextTurn();
    nowMs += 1000;
    assert.equal(isTurnOver(), true, 'others have used it up');
    const done: string[] = [];
    const small = body(63).then((bytes) => {
      done.push('small');
      return bytes;
    });
    const large = body(200).then((bytes) => {
      done.push('large');
      return bytes;
    });
    // Runs before the next turn, and after all that can go on without one.
    await new Promise((resolve) => process.nextTick(resolve));
    assert.deepEqual(done, ['small']);
    assert.equal(((await small) as Buffer).length, 63 * 1024);
    assert.equal(((await large) as Buffer).length, 200 * 1024);
    await eventLoop();
  } finally {
    mock.restoreAll();
  }
});
