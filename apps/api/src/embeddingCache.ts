import { createHash, type Hash } from 'node:crypto';
import type { Config } from '@trivec/core/config';
import type { EmbedTask, FailedText } from '@trivec/core/engine/tasks';
import type { TextVectors } from '@trivec/core/vectors/types';
import { LRUCache } from 'lru-cache';

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

/** Key, outcome, and what the cache itself keeps of an entry: an estimate. */
const ENTRY_BYTES = 1024;
/** No entry takes more than this part of the cache: one matrix of a long text must not push out a thousand queries. */
const LARGEST_PART = 1 / 8;

/**
 * Outcomes of texts that ran, the least recently used forgotten first. A key is a hash over whatever the outcome depends
 * on, so that no text is kept. Texts that failed are not kept either: they may not fail again.
 */
export class EmbeddingCache {
  readonly #entries: LRUCache<string, TextOutcome> | undefined;

  /** EMBEDDING_CACHE_MB of vectors; with 0 nothing is kept. */
  constructor({ embeddingCacheMb }: Pick<Config, 'embeddingCacheMb'>) {
    const maxSize = embeddingCacheMb * 1024 ** 2;
    if (maxSize > 0) this.#entries = new LRUCache({ maxSize, maxEntrySize: maxSize * LARGEST_PART });
  }

  get bytes(): number {
    return this.#entries?.calculatedSize ?? 0;
  }

  /**
   * The cache as seen by one request. `scope`: what one scope asked is never a hit for another, which could otherwise
   * tell by the time of an answer what others ask.
   */
  of(scope: string, fingerprint: string, { texts: _, outputs, ...options }: EmbedTask): CacheView {
    const entries = this.#entries;
    if (entries === undefined) return NOTHING;
    const common = JSON.stringify([scope, fingerprint, [...outputs].sort(), options]);
    const hash = createHash('sha256').update(`${common}\n`);
    return {
      get: (text) => {
        const key = keyOf(hash, text);
        return key === undefined ? undefined : entries.get(key);
      },
      set: (text, outcome) => {
        if ('error' in outcome.vector) return;
        const key = keyOf(hash, text);
        const size = bytesOf(outcome.vector, outcome.tokenIds);
        if (key === undefined || size > entries.maxEntrySize) return;
        entries.set(key, { ...outcome, ...detached(outcome.vector, outcome.tokenIds) }, { size });
      },
    };
  }
}

export interface CacheView {
  get(text: string): TextOutcome | undefined;
  set(text: string, outcome: TextOutcome): void;
}

const NOTHING: CacheView = { get: () => undefined, set: () => {} };

/** None for a text with half a surrogate pair: as UTF-8 it would be the same as others. */
function keyOf(common: Hash, text: string): string | undefined {
  return text.isWellFormed() ? common.copy().update(text).digest('base64') : undefined;
}

function bytesOf({ dense, sparse, colbert }: TextVectors, tokenIds: Int32Array | undefined): number {
  const arrays = [dense, sparse?.indices, sparse?.values, colbert?.data, tokenIds];
  return arrays.reduce((sum, array) => sum + (array?.byteLength ?? 0), ENTRY_BYTES);
}

/** A view of a whole batch would keep all of it in memory, uncounted. */
function detached(vector: TextVectors, tokenIds: Int32Array | undefined) {
  const { dense, sparse, colbert } = vector;
  const copy: TextVectors = {
    ...vector,
    ...(dense && { dense: own(dense) }),
    ...(sparse && { sparse: { indices: own(sparse.indices), values: own(sparse.values) } }),
    ...(colbert && { colbert: { ...colbert, data: own(colbert.data) } }),
  };
  return { vector: copy, ...(tokenIds && { tokenIds: own(tokenIds) }) };
}

function own<T extends Float32Array | Uint32Array | Int32Array>(array: T): T {
  return (array.byteLength === array.buffer.byteLength ? array : array.slice()) as T;
}
