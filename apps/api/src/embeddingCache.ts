import type { Config } from '@trivec/core/config';
import type { EmbedTask, FailedText } from '@trivec/core/engine/tasks';
import type { TextVectors } from '@trivec/core/vectors/types';
import { textKeys, VectorCache } from '@trivec/core/vectors/vectorCache';

/** What the engine told of one text. */
export interface TextOutcome {
  vector: TextVectors | FailedText;
  /** Tokens of the whole text, special tokens included. */
  originalTokens: number;
  truncated: boolean;
  /** The limit that the text was cut to. */
  maxTokens: number;
  /** Where they were asked for. */
  tokenIds?: Int32Array | undefined;
}

/**
 * Outcomes of texts that ran. A key is a hash over whatever the outcome depends on. Texts that failed are not kept: they
 * may not fail again.
 */
export class EmbeddingCache {
  readonly #entries: VectorCache<TextOutcome & { vector: TextVectors }>;

  /** EMBEDDING_CACHE_MB of vectors; with 0 nothing is kept. */
  constructor({ embeddingCacheMb }: Pick<Config, 'embeddingCacheMb'>) {
    this.#entries = new VectorCache(embeddingCacheMb);
  }

  get bytes(): number {
    return this.#entries.bytes;
  }

  /**
   * The cache as seen by one request. `scope`: what one scope asked is never a hit for another, which could otherwise
   * tell by the time of an answer what others ask.
   */
  of(scope: string, fingerprint: string, { texts: _, outputs, ...options }: EmbedTask): CacheView {
    const entries = this.#entries;
    if (!entries.isOn) return NOTHING;
    const keyOf = textKeys(JSON.stringify([scope, fingerprint, [...outputs].sort(), options]));
    return {
      get: (text) => {
        const key = keyOf(text);
        return key === undefined ? undefined : entries.get(key);
      },
      set: (text, { vector, ...about }) => {
        if ('error' in vector) return;
        const key = keyOf(text);
        if (key !== undefined) entries.set(key, { ...about, vector });
      },
    };
  }
}

export interface CacheView {
  get(text: string): TextOutcome | undefined;
  set(text: string, outcome: TextOutcome): void;
}

const NOTHING: CacheView = { get: () => undefined, set: () => {} };
