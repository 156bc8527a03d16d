/** What the speed benches share and needs no device: lengths, percentiles, ways to pack. Pure. */
import type { Shape } from '@trivec/core/engine/costModel';
import { byLength, chooseBatch } from '@trivec/core/engine/pack';

const MEDIAN_TOKENS = 120;
const MAX_TOKENS = 2000;
/** Of the logarithm: the 95th percentile is 500 tokens, 1.645 deviations above the median. */
const DEVIATION = Math.log(500 / MEDIAN_TOKENS) / 1.645;

/** Numbers in [0, 1) that are the same every time (Numerical Recipes' generator). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/**
 * `count` lengths in tokens, log-normal with median 120 and p95 500, cut at 2,000. The distribution's quantiles in a
 * shuffled order: even a small sample has its shape.
 */
export function logNormalLengths(count: number, seed = 1): number[] {
  const lengths = Array.from({ length: count }, (_, i) => {
    const tokens = MEDIAN_TOKENS * Math.exp(DEVIATION * normalQuantile((i + 0.5) / count));
    return Math.min(MAX_TOKENS, Math.max(3, Math.round(tokens)));
  });
  const random = randomNumbers(seed);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [lengths[i], lengths[j]] = [lengths[j]!, lengths[i]!];
  }
  return lengths;
}

/** Bisection over the logistic form of the normal distribution (Bowling et al. 2009, error below 1.4e-4). */
function normalQuantile(share: number): number {
  let [low, high] = [-8, 8];
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (1 / (1 + Math.exp(-(0.07056 * middle ** 3 + 1.5976 * middle))) < share) low = middle;
    else high = middle;
  }
  return low;
}

/** The smallest value that `share` of the values do not exceed; NaN of none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** The engine's own batches of a pool that is all at hand. */
export function packAsEngine(
  lengths: readonly number[],
  maxBatchTokens: number,
  costMs?: (shape: Shape) => number,
): number[][] {
  const pool = lengths.map((tokens) => ({ tokens, arrival: 0 })).sort(byLength);
  const batches: number[][] = [];
  while (pool.length > 0) {
    const { from, to } = chooseBatch(pool, { maxBatchTokens, costMs, withLonger: false });
    batches.push(pool.splice(from, to - from).map(({ tokens }) => tokens));
  }
  return batches;
}

export function packByCount(lengths: readonly number[], count: number): number[][] {
  const batches: number[][] = [];
  for (let i = 0; i < lengths.length; i += count) batches.push(lengths.slice(i, i + count));
  return batches;
}

/** In the order of arrival, as many as fit longest × count ≤ budget; a longer text runs alone. */
export function packFirstCome(lengths: readonly number[], maxBatchTokens: number): number[][] {
  const batches: number[][] = [];
  let [batch, longest]: [number[], number] = [[], 0];
  for (const tokens of lengths) {
    const wider = Math.max(longest, tokens);
    if (batch.length > 0 && wider * (batch.length + 1) > maxBatchTokens) {
      batches.push(batch);
      [batch, longest] = [[], 0];
    }
    batch.push(tokens);
    longest = Math.max(longest, tokens);
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}

/** Real tokens ÷ padded tokens. */
export function paddingEfficiency(batches: readonly (readonly number[])[]): number {
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  return sum(batches.map(sum)) / sum(batches.map((batch) => Math.max(...batch) * batch.length));
}
