import assert from 'node:assert/strict';
import { beforeEach, mock, test } from 'node:test';
import { setImmediate as eventLoop } from 'node:timers/promises';
import { isTurnOver, nextTurn } from '@trivec/core/turns';

let nowMs = 1000;
mock.method(performance, 'now', () => nowMs);

/** Long work, as long as its slice lets it. */
function workUntilOver(): void {
  while (!isTurnOver()) nowMs += 0.1;
}

beforeEach(async () => {
  await nextTurn();
  await eventLoop();
});

test('those who wait go on one a turn, in the order they came', async () => {
  const order: string[] = [];
  const worker = async (name: string) => {
    workUntilOver();
    await nextTurn();
    order.push(name);
  };
  const others = async () => {
    for (let turn = 0; turn < 3; turn++) {
      await eventLoop();
      order.push('others');
    }
  };
  await Promise.all([worker('a'), worker('b'), worker('c'), others()]);
  const workers = order.filter((name) => name !== 'others');
  assert.deepEqual(workers, ['a', 'b', 'c']);
  assert.ok(
    order.every((name, i) => name === 'others' || order[i + 1] === undefined || order[i + 1] === 'others'),
    order.join(),
  );
});

test('a slice is shared by all that work in one turn', async () => {
  workUntilOver();
  assert.equal(isTurnOver(), true, 'whoever comes second finds it used up');
  await nextTurn();
  assert.equal(isTurnOver(), false, 'a turn later there is a new one');
});

test('after a turn without long work the slice is a new one', async () => {
  workUntilOver();
  await eventLoop();
  await eventLoop();
  assert.equal(isTurnOver(), false);
});
