import { randomBytes } from 'node:crypto';

/** Where blobs lie. The sweep walks these two prefixes. */
export const INPUT_PREFIX = 'input/';
export const RESULTS_PREFIX = 'results/';

export const inputPrefix = (jobId: string) => `${INPUT_PREFIX}${jobId}/`;
export const resultsPrefix = (jobId: string) => `${RESULTS_PREFIX}${jobId}/`;

export const inputKey = (jobId: string, ordinal: number) => `${inputPrefix(jobId)}${ordinal}.ndjson`;

/** Lines of the upload that were left out, some thousands a blob. */
export const skippedKey = (jobId: string, blob: number) => `${inputPrefix(jobId)}skipped.${blob}.ndjson`;

const RETRY = 'retry.';

/** What a retry of failed documents stores before it is recorded; beside the input, because it may be still to come. */
export function retryKeys(
  jobId: string,
  attempt: string,
  part: number | string,
): { inputKey: string; errorsKey: string } {
  const base = `${inputPrefix(jobId)}${RETRY}${attempt}.${part}`;
  return { inputKey: `${base}.ndjson`, errorsKey: `${base}.errors.ndjson` };
}

export function isRetryKey(key: string): boolean {
  return key.slice(key.lastIndexOf('/') + 1).startsWith(RETRY);
}

/** Every attempt has its own: two holders of one shard never write the same blob. */
export function attemptKeys(jobId: string, ordinal: number): { resultKey: string; errorsKey: string } {
  const attempt = randomBytes(8).toString('hex');
  const base = `${resultsPrefix(jobId)}${ordinal}.${attempt}`;
  return { resultKey: `${base}.arrow`, errorsKey: `${base}.errors.ndjson` };
}

/** The job that a key under one of the two prefixes belongs to. */
export function jobIdOfKey(key: string): string {
  return key.split('/')[1] ?? '';
}

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

/** `job_` and a ULID in lower case: sorts by time, fits into keys, queue ids and URLs. */
export function newJobId(nowMs: number): string {
  let time = '';
  for (let rest = nowMs, i = 0; i < 10; i++, rest = Math.floor(rest / 32)) time = ALPHABET[rest % 32] + time;
  const random = Array.from(randomBytes(16), (byte) => ALPHABET[byte % 32]).join('');
  return `job_${time}${random}`;
}
