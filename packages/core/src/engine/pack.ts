/** Choosing the next batch from what waits. Pure: no clock, no queue. */
import type { Lane } from './types.ts';

/** A text that waits. */
export interface Waiting {
  /** Special tokens included, ≥ 1. */
  tokens: number;
  enqueuedAtMs: number;
}

export interface PackOptions {
  /** Bound of longest × count; a longer text runs alone. */
  maxBatchTokens: number;
  /** Texts of a length that a batch may have for other reasons (time, memory); at least one runs. */
  maxTexts?: ((length: number) => number) | undefined;
  nowMs: number;
  /** A text that has waited longer is in the next batch, whatever that costs in padding; 0 serves the oldest always. */
  maxAgeMs: number;
}

/** Longest first; of equals the one that came first. `chooseBatch` wants this order. */
export function byLength(a: Waiting, b: Waiting): number {
  return b.tokens - a.tokens || a.enqueuedAtMs - b.enqueuedAtMs;
}

/**
 * The texts of the next batch: neighbours in length, so that little is padded.
 * `sorted` is in the order of `byLength`. Starts from the longest (memory shows early, the rest fits ever better),
 * or around the oldest one where that has waited beyond `maxAgeMs`: then the neighbourhood with the most real tokens.
 * Returns positions [from, to) in `sorted`; empty only for an empty pool.
 */
export function chooseBatch(sorted: readonly Waiting[], options: PackOptions): { from: number; to: number } {
  const { nowMs, maxAgeMs } = options;
  if (sorted.length === 0) return { from: 0, to: 0 };
  const oldest = indexOfOldest(sorted);
  if (nowMs - sorted[oldest]!.enqueuedAtMs < maxAgeMs) return { from: 0, to: endOf(sorted, 0, options) };
  let best = { from: oldest, to: endOf(sorted, oldest, options) };
  let most = realTokens(sorted, best.from, best.to);
  for (let from = oldest - 1; from >= 0; from--) {
    const to = endOf(sorted, from, options);
    if (to <= oldest) break;
    const tokens = realTokens(sorted, from, to);
    if (tokens > most) [best, most] = [{ from, to }, tokens];
  }
  return best;
}

function indexOfOldest(items: readonly Waiting[]): number {
  let oldest = 0;
  for (let i = 1; i < items.length; i++) if (items[i]!.enqueuedAtMs < items[oldest]!.enqueuedAtMs) oldest = i;
  return oldest;
}

/** How far a batch that starts at `from` reaches: its first text is its longest. */
function endOf(
  sorted: readonly Waiting[],
  from: number,
  { maxBatchTokens, maxTexts = () => Number.POSITIVE_INFINITY }: PackOptions,
): number {
  const { tokens } = sorted[from]!;
  const count = Math.max(1, Math.floor(Math.min(maxBatchTokens / tokens, maxTexts(tokens))));
  return Math.min(sorted.length, from + count);
}

function realTokens(items: readonly Waiting[], from: number, to: number): number {
  let sum = 0;
  for (let i = from; i < to; i++) sum += items[i]!.tokens;
  return sum;
}

export interface LaneState {
  interactiveWaiting: boolean;
  bulkWaiting: boolean;
  /** Device time interactive batches took since the last bulk batch, while bulk waited. */
  interactiveMsSinceBulk: number;
  /** Device time of the last bulk batch; what the next one is taken to need. */
  lastBulkMs: number;
  /** Part of the device time that bulk gets at least, 0 to 1. */
  bulkShare: number;
}

/** Interactive first, until bulk has been kept waiting beyond its share. */
export function chooseLane(state: LaneState): Lane | undefined {
  if (!state.interactiveWaiting) return state.bulkWaiting ? 'bulk' : undefined;
  if (!state.bulkWaiting || state.bulkShare === 0) return 'interactive';
  const owed = (state.lastBulkMs * (1 - state.bulkShare)) / state.bulkShare;
  return state.interactiveMsSinceBulk > owed ? 'bulk' : 'interactive';
}
