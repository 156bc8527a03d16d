import assert from 'node:assert/strict';
import test from 'node:test';
import { type Counting, chunkText, type Span } from '@trivec/core/jobs/chunking';
import type { ChunkingOptions } from '@trivec/core/jobs/records';
import fc from 'fast-check';
import { ANYONE, jobRig } from '../../support/jobRig.ts';

type Tokenizer = (text: string) => number;

/** One token a word, and two special ones. */
const byWord: Tokenizer = (text) => text.split(/\s+/).filter((word) => word !== '').length + 2;
/** Pieces of up to three units, a new one at each word: not additive, as real ones are not. */
const byPiece: Tokenizer = (text) =>
  text.split(/\s+/).reduce((sum, word) => sum + Math.ceil(word.length / 3), 0) + 2;

function run<T>(steps: Counting<T>, count: Tokenizer): { value: T; rounds: number } {
  let step = steps.next([]);
  let rounds = 0;
  for (; !step.done; rounds++) step = steps.next(step.value.map(count));
  return { value: step.value, rounds };
}

const cut = (text: string, options: Partial<ChunkingOptions>, count: Tokenizer = byWord) =>
  run(chunkText(text, { maxTokens: 8, overlap: 0, unit: 'sentence', ...options }), count).value;

const parts = (text: string, spans: readonly Span[]) => spans.map(({ start, end }) => text.slice(start, end));

const words = (n: number, end = '.') =>
  `${Array.from({ length: n }, (_, i) => `${i === 0 ? 'W' : 'w'}${i}`).join(' ')}${end} `;

test('a text that fits is one chunk; a longer one is cut between sentences', () => {
  assert.deepEqual(cut('Short one.', {}), [{ start: 0, end: 10 }]);
  const text = words(3) + words(2) + words(4) + words(1);
  assert.deepEqual(parts(text, cut(text, {})), [words(3) + words(2), words(4) + words(1)]);
});

test('unit token fills each chunk; a sentence that is too long is cut between words', () => {
  const text = words(4) + words(4);
  assert.deepEqual(
    parts(text, cut(text, { unit: 'token' })).map((part) => byWord(part) - 2),
    [6, 2],
  );
  const long = words(14);
  assert.deepEqual(
    parts(long, cut(long, {})).map((part) => byWord(part) - 2),
    [6, 6, 2],
  );
});

test('the overlap repeats whole sentences, or words, as far as they fit', () => {
  const text = words(2) + words(2) + words(2) + words(2);
  assert.deepEqual(parts(text, cut(text, { overlap: 3 })), [
    words(2) + words(2) + words(2),
    words(2) + words(2),
  ]);
  const long = words(10);
  assert.deepEqual(parts(long, cut(long, { unit: 'token', overlap: 2 })), [
    'W0 w1 w2 w3 w4 w5 ',
    'w4 w5 w6 w7 w8 w9. ',
  ]);
});

test('an overlap that leaves no room for the next sentence is left out', () => {
  const text = words(3) + words(3) + words(6) + words(3);
  assert.deepEqual(parts(text, cut(text, { overlap: 4 })), [words(3) + words(3), words(6), words(3)]);
});

test('a word that is too long is cut between graphemes, never inside one', () => {
  const family = '👨‍👩‍👧‍👦';
  const text = `${family.repeat(3)}e\u0301e\u0301`;
  const byUnit: Tokenizer = (piece) => piece.length + 2;
  assert.deepEqual(parts(text, cut(text, { maxTokens: 4 }, byUnit)), [
    family,
    family,
    family,
    'e\u0301',
    'e\u0301',
  ]);
});

test('a prompt that leaves no room is refused, not cut for ever', () => {
  assert.throws(() => cut('a b c', {}, (text) => byWord(text) + 6), {
    code: 'text_too_long',
    message: /prompt/,
  });
});

test('whatever the text: covered in order, within the limit, cut between graphemes, overlap kept, the same again', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      'One. ',
      'Two! Three? ',
      '\n\n',
      ' ',
      '。',
      '日本語の文章です。',
      'ไทยภาษา',
      '👨‍👩‍👧',
      'e\u0301',
      '🇨🇭🇫🇷',
      '\r\n',
      '…',
    ),
    fc.string({ unit: 'grapheme', maxLength: 12 }),
    fc.string({ unit: 'binary', maxLength: 4 }),
    fc.nat(40).map((n) => 'x'.repeat(n)),
  );
  const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });
  fc.assert(
    fc.property(
      fc.array(piece, { minLength: 1, maxLength: 40 }).map((list) => list.join('')),
      fc.integer({ min: 4, max: 20 }),
      fc.nat(100),
      fc.constantFrom('sentence' as const, 'token' as const),
      fc.constantFrom(byWord, byPiece),
      (text, maxTokens, share, unit, count) => {
        fc.pre(text !== '');
        const overlap = Math.floor((maxTokens * share) / 200);
        const options = { maxTokens, overlap, unit };
        const spans = cut(text, options, count);
        assert.equal(spans[0]!.start, 0);
        assert.equal(spans.at(-1)!.end, text.length);
        const segments = graphemes.segment(text);
        for (const [i, { start, end }] of spans.entries()) {
          assert.ok(end > start);
          for (const at of [start, end])
            if (at < text.length) assert.equal(segments.containing(at)!.index, at, 'inside a grapheme');
          const part = text.slice(start, end);
          const isOneGrapheme = segments.containing(start)!.segment.length === end - start;
          assert.ok(count(part) <= maxTokens || isOneGrapheme, `${count(part)} tokens`);
          if (i === 0) continue;
          const before = spans[i - 1]!;
          assert.ok(start <= before.end && end > before.end && start > before.start);
          assert.ok(count(text.slice(start, before.end)) - count('') <= overlap);
        }
        assert.deepEqual(cut(text, options, count), spans);
      },
    ),
    { numRuns: 300 },
  );
});

test('a long text costs few questions a chunk', () => {
  const text = Array.from({ length: 5000 }, (_, i) => words(1 + (i % 13))).join('');
  for (const unit of ['sentence', 'token'] as const) {
    const { value, rounds } = run(chunkText(text, { maxTokens: 128, overlap: 16, unit }), byWord);
    assert.ok(rounds < value.length * 14, `${rounds} rounds for ${value.length} chunks`);
  }
});

test('a job with chunking: rows are chunks with their places, counts stay documents', async () => {
  const rig = jobRig();
  const texts = [
    'One two three. Four five six. Seven eight nine.',
    'short',
    'A b c d e f. Some poison g h i.',
  ];
  const docs = texts.map((text, i) => ({ id: `d${i}`, text, payload: { i } }));
  const job = await rig.submit(docs, {
    chunking: { maxTokens: 8 },
    prompt: 'p ',
    outputs: ['dense', 'sparse', 'colbert'],
  });
  await rig.drain();
  const ended = await rig.job(job.id);
  assert.deepEqual(ended.counts, { documents: 3, embedded: 2, written: 0, failed: 1 });
  assert.deepEqual(
    ended.errors.map(({ id, code }) => [id, code]),
    [['d2', 'model_failed']],
  );
  assert.equal(ended.truncated, 0);
  const { rows } = await rig.lines(job.id);
  assert.deepEqual(
    rows.map(({ id, chunk, start, end, tokens }) => [
      id,
      chunk,
      texts[Number(id[1])]!.slice(start, end),
      tokens,
    ]),
    [
      ['d0', 0, 'One two three. ', 6],
      ['d0', 1, 'Four five six. ', 6],
      ['d0', 2, 'Seven eight nine.', 6],
      ['d1', 0, 'short', 4],
    ],
  );
  const { hits } = await rig.service.search(job.id, ANYONE, {
    vectors: { tokens: 4, dense: Float32Array.from(rows[1]!.dense!) },
    mode: 'dense',
    limit: 9,
  });
  assert.equal(hits.length, 4);
  const hit = hits.find(({ id, chunk }) => id === 'd0' && chunk === 1)!;
  assert.deepEqual([hit.text, hit.start, hit.end, hit.payload], ['Four five six. ', 15, 30, { i: 0 }]);
});
