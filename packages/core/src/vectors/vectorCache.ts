import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { TextVectors } from './types.ts';

/** What is remembered of one text, as far as it takes room. */
export interface CachedText {
  vector: TextVectors;
  tokenIds?: Int32Array | undefined;
}

/** Key, entry, and what the cache itself keeps of it: an estimate. */
const ENTRY_BYTES = 1024;
/** No entry takes more than this part of the cache: one matrix of a long text must not push out a thousand short ones. */
const LARGEST_PART = 1 / 8;

/** Vectors of texts that ran, within a bound in bytes, the least recently used forgotten first. */
export class VectorCache<Entry extends CachedText = CachedText> {
  readonly #entries: LRUCache<string, Entry> | undefined;

  /** With 0 megabytes nothing is kept. */
  constructor(maxMb: number) {
    const maxSize = maxMb * 1024 ** 2;
    if (maxSize > 0) this.#entries = new LRUCache({ maxSize, maxEntrySize: maxSize * LARGEST_PART });
  }

  get isOn(): boolean {
    return this.#entries !== undefined;
  }

  get bytes(): number {
    return this.#entries?.calculatedSize ?? 0;
  }

  /** As it was kept: not to be written to. */
  get(key: string): Entry | undefined {
    return this.#entries?.get(key);
  }

  /** Keeps a copy; nothing of an entry that is too large. */
  set(key: string, entry: Entry): void {
    const size = bytesOf(entry);
    if (this.#entries === undefined || size > this.#entries.maxEntrySize) return;
    this.#entries.set(key, detached(entry), { size });
  }
}

/**
 * Keys of texts: a hash over them and `common`, whatever else their vectors depend on, so that no text is kept. None for
 * a text with half a surrogate pair: as UTF-8 it would be the same as others.
 */
export function textKeys(common: string): (text: string) => string | undefined {
  const hash = createHash('sha256').update(`${common}\n`);
  return (text) => (text.isWellFormed() ? hash.copy().update(text).digest('base64') : undefined);
}

function bytesOf({ vector: { dense, sparse, colbert }, tokenIds }: CachedText): number {
  const arrays = [dense, sparse?.indices, sparse?.values, colbert?.data, tokenIds];
  return arrays.reduce((sum, array) => sum + (array?.byteLength ?? 0), ENTRY_BYTES);
}

/** A view of a whole batch would keep all of it in memory, uncounted. */
function detached<Entry extends CachedText>(entry: Entry): Entry {
  const { vector, tokenIds } = entry;
  const { dense, sparse, colbert } = vector;
  return {
    ...entry,
    vector: {
      ...vector,
      ...(dense && { dense: own(dense) }),
      ...(sparse && { sparse: { indices: own(sparse.indices), values: own(sparse.values) } }),
      ...(colbert && { colbert: { ...colbert, data: own(colbert.data) } }),
    },
    ...(tokenIds && { tokenIds: own(tokenIds) }),
  };
}

function own<T extends Float32Array | Uint32Array | Int32Array>(array: T): T {
  return (array.byteLength === array.buffer.byteLength ? array : array.slice()) as T;
}
