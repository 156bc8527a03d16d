import { setImmediate } from 'node:timers/promises';
import { Tokenizer } from '@huggingface/tokenizers';
import type { TokenizerBackend } from './tokenizer.ts';

/** Above this many UTF-16 units without white space the library overflows the stack. */
const MAX_RUN = 20_000;
/** How long one turn may hold the event loop before others get theirs. */
const TURN_MS = 10;

/**
 * `@huggingface/tokenizers`, for machines without the native library. Differs from it for some rare characters:
 * stacked combining marks, U+0344, NFKC characters newer than the model's table.
 */
export class JsBackend implements TokenizerBackend {
  readonly kind = 'js';
  readonly #tokenizer: Tokenizer;
  readonly #lowercases: boolean;

  constructor(tokenizerJson: object, tokenizerConfig: object) {
    this.#tokenizer = new Tokenizer(tokenizerJson, tokenizerConfig);
    const { normalizer } = tokenizerJson as { normalizer?: unknown };
    this.#lowercases = /"lowercase":true|"type":"Lowercase"/.test(JSON.stringify(normalizer) ?? '');
  }

  async encode(texts: readonly string[]): Promise<number[][]> {
    const ids: number[][] = [];
    let turnEndsAt = performance.now() + TURN_MS;
    for (const text of texts) {
      ids.push(this.#tokenizer.encode(breakRuns(this.#asNative(text))).ids);
      if (performance.now() < turnEndsAt) continue;
      await setImmediate();
      turnEndsAt = performance.now() + TURN_MS;
    }
    return ids;
  }

  /** Where the two libraries see a character differently, the one that the native library sees. */
  #asNative(text: string): string {
    const spaced = text.replaceAll('\u0085', ' ');
    // JavaScript lowers a Σ at a word's end to ς, Rust lowers every one to σ.
    return this.#lowercases ? spaced.replaceAll('Σ', 'σ') : spaced;
  }

  async encodePair(first: string, second: string): Promise<{ ids: number[]; typeIds: number[] }> {
    const { ids, token_type_ids } = this.#tokenizer.encode(first, {
      text_pair: second,
      return_token_type_ids: true,
    });
    return { ids, typeIds: token_type_ids };
  }

  knows(id: number): boolean {
    return this.#tokenizer.id_to_token(id) !== undefined;
  }

  async decode(ids: readonly number[][], skipSpecialTokens: boolean): Promise<string[]> {
    return ids.map((list) =>
      list.length === 0 ? '' : this.#tokenizer.decode(list, { skip_special_tokens: skipSpecialTokens }),
    );
  }
}

/** Puts a space into every run of more than MAX_RUN units, never between two halves of a character. */
function breakRuns(text: string): string {
  if (text.length <= MAX_RUN) return text;
  return text.replace(new RegExp(`\\S{${MAX_RUN}}(?=\\S)`, 'gu'), '$& ');
}
