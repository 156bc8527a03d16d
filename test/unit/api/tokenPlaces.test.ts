import assert from 'node:assert/strict';
import { test } from 'node:test';
import { locate } from '../../../apps/api/src/routes/compat/tokenPlaces.ts';

/** Places of tokens between two special ones. */
function placesOf(text: string, tokens: string[]) {
  const ids = Int32Array.from([0, ...tokens.map((_, i) => i + 10), 2]);
  const located = locate(text, { ids, tokens: ['<s>', ...tokens, '</s>'] }, ids.slice(1, -1));
  assert.equal(located[0]!.start, null);
  assert.equal(located.at(-1)!.start, null);
  return located.slice(1, -1).map(({ start, stop }) => (start === null ? null : [start, stop]));
}

test('tokens stand where the text has them, after any white space', () => {
  assert.deepEqual(placesOf('tea   and tea', ['tea', 'and', 'tea']), [
    [0, 3],
    [6, 9],
    [10, 13],
  ]);
  assert.deepEqual(placesOf('tea and', ['tea', ' and']), [
    [0, 3],
    [3, 7],
  ]);
});

test('a token that was rewritten has no place, and takes none that a later one needs', () => {
  const text = `Ⅳ is four, and ${'so on '.repeat(20)}IV is written so`;
  assert.deepEqual(placesOf(text, ['IV', 'is', 'four', ',', 'and']), [
    null,
    [2, 4],
    [5, 9],
    [9, 10],
    [11, 14],
  ]);
});

test('after a long run of rewritten tokens places are found again', () => {
  const strange = 'ＡＢＣＤＥＦ';
  assert.deepEqual(placesOf(`${strange} end`, ['ABC', 'DEF', 'end']), [null, null, [7, 10]]);
});
