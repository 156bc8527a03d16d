import assert from 'node:assert/strict';
import test from 'node:test';
import type { SearchHit } from '@trivec/cli/apiTypes';
import { answerText, explanationLines } from '@trivec/cli/commands/search';

const HIT: SearchHit = {
  id: 'a',
  chunk: 0,
  score: 0.5,
  scores: { sparse: 0.4, colbert: 0.6 },
  text: 'Ice melts.',
};

function term(token: string, queryWeight: number, documentWeight: number) {
  return { token, queryWeight, documentWeight, product: queryWeight * documentWeight };
}

test('an explanation names the tokens, heaviest first, in the words of the text', () => {
  const lines = explanationLines(
    {
      ...HIT,
      explanation: {
        sparse: [term('▁ice', 0.5, 0.5), term('##berg', 2, 1.5)],
        colbert: [
          { queryToken: 'snow', documentIndex: 0, documentToken: '▁ice', similarity: 0.5 },
          { queryToken: '##ing', documentIndex: 1, documentToken: '##s', similarity: 0.75 },
          { documentIndex: 2, similarity: 0.25 },
        ],
      },
    },
    100,
  );
  assert.deepEqual(lines, [
    'sparse:   …berg 2.00 × 1.50 = 3.00 · ice 0.50 × 0.50 = 0.25',
    'colbert:  …ing → …s 0.75 · snow → ice 0.50 · ? → token 3 0.25',
  ]);
});

test('a long explanation is cut to its heaviest tokens and wrapped', () => {
  const colbert = Array.from({ length: 11 }, (_, i) => ({
    queryToken: `query${i}`,
    documentIndex: i,
    documentToken: `met${i}`,
    similarity: i / 100,
  }));
  const lines = explanationLines({ ...HIT, explanation: { colbert } }, 60);
  assert.equal(lines[0], 'colbert:  query10 → met10 0.10 · query9 → met9 0.09');
  assert.equal(lines.at(-1), '          query4 → met4 0.04 · query3 → met3 0.03 · 3 more');
  for (const line of lines) assert.ok(line.length <= 60, line);
});

test('no token in common is said; a hit without an explanation has no such lines', () => {
  const text = answerText(
    { hits: [{ ...HIT, explanation: { sparse: [] } }], scanned: 1, weights: {}, notes: [] },
    80,
  );
  assert.match(text, /\n {4}sparse: {3}no token in common$/);
  assert.deepEqual(explanationLines(HIT, 80), []);
});
