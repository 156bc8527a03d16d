import { createHash } from 'node:crypto';
import type { Document } from './records.ts';

/**
 * Tells two requests under one idempotency key apart: SHA-256 over the options and over each document as it was
 * understood. So the same documents are the same request as JSON or NDJSON, gzipped or not, and with other blanks.
 */
export class RequestHash {
  private readonly hash = createHash('sha256');

  constructor(options: unknown) {
    this.hash.update(`${canonicalJson(options)}\n`);
  }

  document(document: Document): void {
    this.hash.update(`${JSON.stringify(document)}\n`);
  }

  /** A line that was skipped, by its place and why. */
  refused(param: string, code: string): void {
    this.hash.update(`!${JSON.stringify([param, code])}\n`);
  }

  digest(): string {
    return this.hash.digest('hex');
  }
}

/** JSON with the fields of every object in order of their names. */
function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_name, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
