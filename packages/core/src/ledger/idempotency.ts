import { createHash } from 'node:crypto';

/** What a job record keeps of the `Idempotency-Key` that it was made under. */
export interface IdempotencyRecord {
  /** Stands for owner and key: 26 characters, also the end of the job's id. */
  digest: string;
  /** SHA-256 of options and documents, hex. */
  request: string;
}

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const DIGEST_CHARS = 26;

/** 130 bits of SHA-256, in characters that fit into ids and keys. */
export function idempotencyDigest(owner: string, key: string): string {
  const bytes = createHash('sha256')
    .update(JSON.stringify([owner, key]))
    .digest();
  return Array.from(bytes.subarray(0, DIGEST_CHARS), (byte) => ALPHABET[byte % 32]).join('');
}

/** Ids of jobs made under a key end in its digest: all of one key can lie in one slot of a cluster. */
export function withDigest(jobId: string, digest: string): string {
  return `${jobId}_${digest}`;
}

export function digestOfJobId(jobId: string): string | undefined {
  return /^job_[0-9a-z]{26}_([0-9a-z]{26})$/.exec(jobId)?.[1];
}
