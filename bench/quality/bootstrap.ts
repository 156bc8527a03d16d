import { mean } from './metrics.ts';

export interface Interval {
  /** The difference that was measured. */
  mean: number;
  low: number;
  high: number;
}

export interface BootstrapOptions {
  /** How often the queries are drawn. */
  samples: number;
  level: number;
  seed: number;
}

export const BOOTSTRAP: BootstrapOptions = { samples: 10_000, level: 0.95, seed: 1 };

/**
 * Percentile interval of the mean of paired differences (Efron, Tibshirani 1993; Sakai 2006 for retrieval): queries
 * are drawn with replacement, each with its difference. The same seed gives the same interval.
 */
export function pairedBootstrap(differences: readonly number[], options = BOOTSTRAP): Interval {
  const count = differences.length;
  const next = randomNumbers(options.seed);
  const means = new Float64Array(options.samples);
  for (let sample = 0; sample < means.length; sample++) {
    let sum = 0;
    for (let draw = 0; draw < count; draw++) sum += differences[Math.floor(next() * count)]!;
    means[sample] = count === 0 ? 0 : sum / count;
  }
  means.sort();
  const tail = (1 - options.level) / 2;
  const at = (share: number) => means[Math.round(share * (means.length - 1))]!;
  return { mean: mean(differences), low: at(tail), high: at(1 - tail) };
}

/** mulberry32: 0 ≤ x < 1, a different sequence for each seed. */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
