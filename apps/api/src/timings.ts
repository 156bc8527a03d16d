/** Milliseconds of the work that a request waited for; 0 for texts that the cache knew. */
export interface Timings {
  queueMs: number;
  tokenizeMs: number;
  inferMs: number;
}

/** Parts wait and run beside each other: their longest wait, and the work of all. */
export function joinTimings(replies: readonly { timings: Timings }[]): Timings {
  return {
    queueMs: rounded(replies.reduce((most, { timings }) => Math.max(most, timings.queueMs), 0)),
    tokenizeMs: rounded(replies.reduce((sum, { timings }) => sum + timings.tokenizeMs, 0)),
    inferMs: rounded(replies.reduce((sum, { timings }) => sum + timings.inferMs, 0)),
  };
}

/** To 0.01 ms: what is below is noise. */
function rounded(ms: number): number {
  return Math.round(ms * 100) / 100;
}
