import { TrivecError } from '../errors.ts';

const FIRST_DELAY_MS = 500;
const MAX_DELAY_MS = 60_000;

/**
 * Exponential backoff with jitter: half to all of `500 ms × 2^(attempt − 1)`, at most a minute; where the error
 * says `retryAfterSeconds`, one to two times that if it is longer. The jitter keeps workers that failed
 * together from returning together.
 */
export function retryDelayMs(attempt: number, error: unknown, random: () => number = Math.random): number {
  const backoffMs = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt - 1, 30));
  const askedMs = error instanceof TrivecError ? (error.retryAfterSeconds ?? 0) * 1_000 : 0;
  return Math.round(Math.max(askedMs, backoffMs / 2) * (1 + random()));
}
