import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseServer, withoutAvoided } from '@trivec/core/replies/directOffer';

test('a request goes to the server that has the fewest of this process', () => {
  assert.equal(chooseServer(['a', 'b', 'c'], ['a', 'c', 'b', 'a', 'c']), 'b');
  assert.equal(chooseServer(['a', 'b'], ['gone', 'gone', 'a']), 'b');
});

test('it goes to the queue where no server is open, all have enough, or somebody waits there', () => {
  assert.equal(chooseServer([], []), undefined);
  const many = Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? 'a' : 'b'));
  assert.equal(chooseServer(['a', 'b'], many), undefined);
  assert.equal(chooseServer(['a', 'b'], ['a', undefined]), undefined);
});

test('a server that is avoided is offered nothing until its time is over', () => {
  const avoided = new Map([
    ['a', 1_000],
    ['gone', 1_000],
  ]);
  assert.deepEqual(withoutAvoided(['a', 'b'], avoided, 999), ['b']);
  assert.deepEqual(withoutAvoided(['a', 'b'], avoided, 1_000), ['a', 'b']);
  assert.equal(
    chooseServer(withoutAvoided(['a'], avoided, 999), []),
    undefined,
    'the queue, where nobody else is',
  );
});
