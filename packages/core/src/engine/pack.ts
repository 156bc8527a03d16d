/** Choosing the next batch from what waits. Pure: no clock, no queue. */
import type { Shape } from './costModel.ts';
import type { Lane } from './types.ts';

/** A text that waits. */
export interface Waiting {
  /** Special tokens included, ≥ 1. */
  tokens: number;
  /** Number of its call, in the order in which calls came. */
  arrival: number;
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
  /** May texts be with the first one that are longer: better company where few wait, more padding where many do. */
  withLonger: boolean;
}

/** Longest first; of equals the one that came first. `chooseBatch` wants this order. */
export function byLength(a: Waiting, b: Waiting): number {
  return b.tokens - a.tokens || a.arrival - b.arrival;
}

/**
 * The texts of the next batch: neighbours in length, so that little is padded, whichever call they are of.
 * The first among them is the longest text of the call that came first. So that call ends while later ones still have
 * work for the device; had the longest of all its turn, all that is at hand would end at once and the device would wait
 * for more. Around it the neighbourhood that is worth most: in real tokens a predicted millisecond, or without a
 * prediction in real tokens.
 * `sorted` is in the order of `byLength`. Returns positions [from, to) in it; empty only for an empty pool.
 */
export function chooseBatch(sorted: readonly Waiting[], options: PackOptions): { from: number; to: number } {
  if (sorted.length === 0) return { from: 0, to: 0 };
  const first = indexOfFirst(sorted);
  let best = { from: first, ...bestEnd(sorted, first, first, options) };
  if (options.withLonger)
    for (let from = first - 1; from >= 0 && endOf(sorted, from, options) > first; from--) {
      const end = bestEnd(sorted, from, first, options);
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

function indexOfFirst(items: readonly Waiting[]): number {
  let first = 0;
  for (let i = 1; i < items.length; i++) if (items[i]!.arrival < items[first]!.arrival) first = i;
  return first;
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
