import { TrivecError } from '../errors.ts';
import type { ChunkingOptions } from './records.ts';

/** A part of a text, in UTF-16 units: `text.slice(start, end)`. */
export interface Span {
  start: number;
  end: number;
}

/** The same with chunks of at most `maxTokens`: longer ones would lose their ends. */
export function chunkingWithin(
  chunking: ChunkingOptions,
  maxTokens = Number.POSITIVE_INFINITY,
): ChunkingOptions {
  if (chunking.maxTokens <= maxTokens) return chunking;
  return { ...chunking, maxTokens, overlap: Math.min(chunking.overlap, Math.floor(maxTokens / 2)) };
}

/**
 * A decision that needs the tokenizer: yields texts, and is given back how many tokens each has, special tokens and
 * prompt included. So the rules stay pure, and the questions about many documents travel together.
 */
export type Counting<T> = Generator<string[], T, number[]>;

/** Fixed, so that the machine's own language changes nothing. */
const LOCALE = 'en';
const SENTENCES = new Intl.Segmenter(LOCALE, { granularity: 'sentence' });
const WORDS = new Intl.Segmenter(LOCALE, { granularity: 'word' });
const GRAPHEMES = new Intl.Segmenter(LOCALE, { granularity: 'grapheme' });

/**
 * Cuts a text into spans of at most `maxTokens` that cover it in order, each beginning where the one before ends, or up
 * to `overlap` tokens earlier. Cuts lie between sentences (or words, for unit `token`); in a sentence that is too long,
 * between words; in a word that is too long, between graphemes, never inside one: only a span of a single
 * grapheme can have more tokens than allowed. Throws `text_too_long` where the prompt alone takes all the room.
 */
export function* chunkText(text: string, options: ChunkingOptions): Counting<Span[]> {
  const [whole = 0, base = 0] = yield [text, ''];
  if (whole <= options.maxTokens) return [{ start: 0, end: text.length }];
  if (base >= options.maxTokens)
    throw new TrivecError(
      'text_too_long',
      `The prompt has ${base} tokens with the special ones; chunking.maxTokens is ${options.maxTokens}.`,
    );
  const cuts = new Cuts(text);
  const levels: Level[] =
    options.unit === 'sentence' ? ['sentence', 'word', 'grapheme'] : ['word', 'grapheme'];
  const measure = { text, base, density: Math.max(whole - base, 1) / text.length };
  const spans: Span[] = [];
  let start = 0;
  let covered = 0;
  while (covered < text.length) {
    const end = yield* furthestEnd(start, covered);
    if (end === undefined) {
      // What is repeated leaves no room for anything new: nothing is repeated here.
      start = covered;
      continue;
    }
    spans.push({ start, end });
    covered = end;
    start = end === text.length || options.overlap === 0 ? end : yield* overlapStart(start, end);
  }
  return spans;

  /** The last cut behind `from` that a chunk from `start` can reach. */
  function* furthestEnd(start: number, from: number): Counting<number | undefined> {
    let to = text.length;
    for (const level of levels) {
      const candidates = cuts.between(level, from, to);
      const found = yield* longestFitting(
        candidates.count,
        (i) => ({ start, end: candidates.at(i) }),
        options.maxTokens,
        measure,
      );
      if (found !== undefined) return found.end;
      to = candidates.at(0);
      if (start === from) continue;
      // Better a whole sentence, or word, without what is repeated before it.
      const [alone = 0] = yield [text.slice(from, to)];
      if (alone <= options.maxTokens) return undefined;
    }
    return start === from ? to : undefined;
  }

  /** The earliest cut in a chunk from which on it has no more tokens than the overlap. */
  function* overlapStart(start: number, end: number): Counting<number> {
    const coarse = cuts.between(levels[0]!, start, end);
    const inner = coarse.count > 1 ? coarse : cuts.between('word', start, end);
    // The last one is the end itself.
    const count = inner.count - 1;
    const found = yield* longestFitting(
      count,
      (i) => ({ start: inner.at(count - 1 - i), end }),
      base + options.overlap,
      measure,
    );
    return found?.start ?? end;
  }
}

interface Measure {
  text: string;
  base: number;
  /** Tokens a UTF-16 unit, as a first guess. */
  density: number;
}

const MAX_GUESSES = 4;

/** The last of ever longer spans that has at most `limit` tokens, found in a few questions; `undefined` if none has. */
function* longestFitting(
  count: number,
  spanAt: (index: number) => Span,
  limit: number,
  { text, base, density }: Measure,
): Counting<Span | undefined> {
  let fits = -1;
  let tooLong = count;
  for (let round = 0; tooLong - fits > 1; round++) {
    let guess = indexOfLength(count, spanAt, (limit - base) / density);
    // Guesses that creep are overtaken: by leaps, then by halving.
    if (round >= MAX_GUESSES)
      guess = tooLong < count ? (fits + tooLong) >> 1 : fits + 2 ** (round - MAX_GUESSES);
    guess = Math.min(tooLong - 1, Math.max(fits + 1, guess));
    const { start, end } = spanAt(guess);
    const [tokens = 0] = yield [text.slice(start, end)];
    if (tokens > base) density = (tokens - base) / (end - start);
    if (tokens > limit) tooLong = guess;
    else fits = guess;
  }
  return fits === -1 ? undefined : spanAt(fits);
}

/** The last span of at most so many UTF-16 units; -1 where all are longer. */
function indexOfLength(count: number, spanAt: (index: number) => Span, units: number): number {
  let low = -1;
  let high = count;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    const { start, end } = spanAt(middle);
    if (end - start <= units) low = middle;
    else high = middle;
  }
  return low;
}

type Level = 'sentence' | 'word' | 'grapheme';

/** Where a text may be cut, level by level; remembers the last stretch of each. */
class Cuts {
  private readonly text: string;
  private readonly known = new Map<Level, { from: number; to: number; cuts: number[] }>();

  constructor(text: string) {
    this.text = text;
  }

  /** Cuts behind `from` up to `to`, which is one itself, ascending. Both must lie between graphemes. */
  between(level: Level, from: number, to: number): { count: number; at(index: number): number } {
    let known = this.known.get(level);
    if (known === undefined || from < known.from || to > known.to) {
      known = { from, to, cuts: this.find(level, from, to) };
      this.known.set(level, known);
    }
    const { cuts } = known;
    const first = firstAbove(cuts, from);
    const inner = firstAbove(cuts, to - 1) - first;
    return { count: inner + 1, at: (index) => (index < inner ? cuts[first + index]! : to) };
  }

  private find(level: Level, from: number, to: number): number[] {
    const part = this.text.slice(from, to);
    if (level === 'grapheme')
      return Array.from(GRAPHEMES.segment(part), ({ index, segment }) => from + index + segment.length);
    const graphemes = GRAPHEMES.segment(part);
    const cuts: number[] = [];
    for (const { index, segment } of (level === 'sentence' ? SENTENCES : WORDS).segment(part)) {
      // Blanks belong to the word before them.
      if (index === 0 || (level === 'word' && segment.trim() === '')) continue;
      if (graphemes.containing(index)?.index === index) cuts.push(from + index);
    }
    cuts.push(to);
    return cuts;
  }
}

function firstAbove(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! > value) high = middle;
    else low = middle + 1;
  }
  return low;
}
