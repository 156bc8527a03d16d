/** Milliseconds of the work that a request waited for; 0 for texts that the cache knew. */
export interface Timings {
  queueMs: number;
  tokenizeMs: number;
  inferMs: number;
}

/** Parts wait and run beside each other: their longest wait, and the work of all. */
export function joinTimings(replies: readonly { timings: Timings }[]): Timings {
  return {
    queueMs: replies.reduce((most, { timings }) => Math.max(most, timings.queueMs), 0),
    tokenizeMs: replies.reduce((sum, { timings }) => sum + timings.tokenizeMs, 0),
    inferMs: replies.reduce((sum, { timings }) => sum + timings.inferMs, 0),
  };
}
