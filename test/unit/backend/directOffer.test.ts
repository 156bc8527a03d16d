import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseServer } from '@trivec/core/replies/directOffer';

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
