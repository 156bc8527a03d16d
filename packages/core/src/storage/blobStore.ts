import type { Readable } from 'node:stream';

/**
 * Blobs by key, on disk or in a bucket. Keys are `/`-separated, of `[A-Za-z0-9._-]` segments.
 * `put` is atomic: a reader sees the whole blob or none, and once it resolves the blob survives a crash.
 * Errors: `storage_full` (no space), `storage_unavailable` (anything else that may heal).
 */
export interface BlobStore {
  put(key: string, body: Uint8Array): Promise<void>;
  /** The blob, or `undefined` where there is none. */
  get(key: string): Promise<Buffer | undefined>;
  /** The blob in pieces, or `undefined` where there is none. */
  stream(key: string): Promise<Readable | undefined>;
  /** Keys under a prefix that ends in `/`, in no order. */
  list(prefix: string): AsyncIterable<{ key: string; bytes: number; modifiedAtMs: number }>;
  /** Missing keys are not an error. */
  delete(keys: readonly string[]): Promise<void>;
  deletePrefix(prefix: string): Promise<void>;
  /** Room that is left; `undefined` where there is no telling. */
  freeBytes(): Promise<number | undefined>;
  /** For messages and `/info`: a path or a bucket URL, never a secret. */
  readonly description: string;
  close(): Promise<void>;
}
