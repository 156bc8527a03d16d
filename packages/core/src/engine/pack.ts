/** Choosing the next batch from what waits. Pure: no clock, no queue. */
import type { Shape } from './costModel.ts';
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
  /**
   * What a batch is predicted to take, its overhead included. With it a batch ends where another text would cost more in
   * padding than the company saves; without it, where the bounds do.
   */
  costMs?: ((shape: Shape) => number) | undefined;
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
 * or around the oldest one where that has waited beyond `maxAgeMs`: then the neighbourhood that is worth most, in
 * real tokens a predicted millisecond, or without a prediction in real tokens.
 * Returns positions [from, to) in `sorted`; empty only for an empty pool.
 */
export function chooseBatch(sorted: readonly Waiting[], options: PackOptions): { from: number; to: number } {
  const { nowMs, maxAgeMs } = options;
  if (sorted.length === 0) return { from: 0, to: 0 };
  const oldest = indexOfOldest(sorted);
  if (nowMs - sorted[oldest]!.enqueuedAtMs < maxAgeMs)
    return { from: 0, to: bestEnd(sorted, 0, 0, options).to };
  let best = { from: oldest, ...bestEnd(sorted, oldest, oldest, options) };
  for (let from = oldest - 1; from >= 0 && endOf(sorted, from, options) > oldest; from--) {
    const end = bestEnd(sorted, from, oldest, options);
    if (end.worth > best.worth) best = { from, ...end };
  }
  return { from: best.from, to: best.to };
}

/** Where a batch that starts at `from` and has the text at `within` does best to end. */
function bestEnd(
  sorted: readonly Waiting[],
  from: number,
  within: number,
  options: PackOptions,
): { to: number; worth: number } {
  const { costMs } = options;
  const limit = endOf(sorted, from, options);
  const length = sorted[from]!.tokens;
  let real = 0;
  let best = { to: limit, worth: 0 };
  for (let at = from; at < limit; at++) {
    real += sorted[at]!.tokens;
    if (costMs === undefined) best.worth = real;
    else if (at >= within) {
      const worth = real / costMs({ count: at + 1 - from, length });
      if (worth > best.worth) best = { to: at + 1, worth };
    }
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
