import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import type { SearchHit } from '../../apps/cli/src/apiTypes.ts';
import { type Answers, answersText, QUESTIONS } from '../../apps/cli/src/demoQuestions.ts';

interface Passage {
  id: string;
  text: string;
  payload: { topic: string; title: string };
}

const PASSAGES = readFileSync(new URL('../../examples/passages.ndjson', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Passage);

test('the example passages: many, on many subjects, each its own', () => {
  assert.ok(PASSAGES.length >= 200);
  assert.ok(new Set(PASSAGES.map(({ payload }) => payload.topic)).size >= 20);
  assert.equal(new Set(PASSAGES.map(({ id }) => id)).size, PASSAGES.length);
  assert.equal(new Set(PASSAGES.map(({ payload }) => payload.title)).size, PASSAGES.length);
  for (const { id, text } of PASSAGES) {
    const words = text.split(' ').length;
    assert.ok(words >= 30 && words <= 120, `${id} has ${words} words`);
  }
});

test('each question of the demo has its answer among the passages', () => {
  for (const { answer } of QUESTIONS)
    assert.ok(
      PASSAGES.some(({ id }) => id === answer),
      answer,
    );
});

const hit = (id: string): SearchHit => ({
  id,
  chunk: 0,
  score: 1,
  scores: {},
  text: `About ${id}.`,
  payload: { title: `Title ${id}` },
});

test('rankings side by side: what one alone found is marked, and the answer’s place in each is told', () => {
  const answers: Answers = {
    dense: [hit('a'), hit('b')],
    sparse: [hit('b'), hit('c')],
    colbert: [hit('b'), hit('a')],
  };
  const text = answersText({ question: 'Why?', point: 'A point.', answer: 'a' }, answers, 80);
  assert.deepEqual(text.split('\n'), [
    '“Why?”',
    '  A point.',
    '',
    '  dense                     sparse                    colbert',
    `  ${'─'.repeat(24)}  ${'─'.repeat(24)}  ${'─'.repeat(24)}`,
    '  1   Title a               1   Title b               1   Title b',
    '  2   Title b               2 * Title c               2   Title a',
    '',
    '  ✓ Title a: About a.',
    '    dense: first, sparse: not in the first 2, colbert: second',
  ]);
});

test('an answer that nothing found is not claimed', () => {
  const answers: Answers = { dense: [hit('b')], sparse: [], colbert: [] };
  const text = answersText({ question: 'Why?', point: '', answer: 'a' }, answers, 80);
  assert.match(text, /The answer \(a\) is among none of them\.$/);
});
