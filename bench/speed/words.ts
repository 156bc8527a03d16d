/** Texts of a wanted number of tokens, none like another. Pure. */
import { randomNumbers } from './texts.ts';

/** Words that the built-in model's tokenizer keeps whole: whole words of its vocabulary, letters only. */
export function wholeWords(vocabulary: Record<string, number>): string[] {
  return Object.keys(vocabulary).filter((word) => /^[a-z]{4,9}$/.test(word));
}

/** One text a length: two tokens of it are the special ones. Another seed gives other words. */
export function textsOf(lengths: readonly number[], words: readonly string[], seed = 1): string[] {
  const random = randomNumbers(seed * 7919 + 17);
  return lengths.map((tokens) =>
    Array.from({ length: Math.max(1, tokens - 2) }, () => words[Math.floor(random() * words.length)]).join(
      ' ',
    ),
  );
}
