/** Times a few shapes of batches: few and short ones, so that a start waits little. */
import { fitCost, predictMs, type Shape, type Timed } from './costModel.ts';

export interface SweepLimits {
  /** Budgets to try, ascending, in padded tokens. */
  budgets: readonly number[];
  /** Longest text of the model. */
  maxTokens: number;
  /** No batch is tried that would take longer. */
  maxBatchMs: number;
  /** No batch is tried for which this is false. */
  fits?: (shape: Shape) => boolean;
}

/** A usual length: what the budgets are tried with. */
const USUAL_LENGTH = 128;
const SHORT_LENGTHS = [16, 64];
/** Shows what attention costs, where one run of it is affordable. */
const LONG_LENGTHS = [1024, 512, 256, 128];

const SWEEP_MS = 2000;
const LONG_MS = 300;
/** A run shorter than this is repeated: the better one counts. */
const REPEATED_BELOW_MS = 50;
/** Larger budgets are not tried after this many in a row that were no faster. */
const NO_BETTER = 2;

export function usualLength(maxTokens: number): number {
  return Math.min(USUAL_LENGTH, maxTokens);
}

/** `time` runs a batch and says its milliseconds. */
export async function sweep(
  time: (shape: Shape) => Promise<number>,
  { budgets, maxTokens, maxBatchMs, fits = () => true }: SweepLimits,
): Promise<Timed[]> {
  const samples: Timed[] = [];
  const endAtMs = performance.now() + SWEEP_MS;
  const take = async (shape: Shape): Promise<number> => {
    let ms = await time(shape);
    if (ms < REPEATED_BELOW_MS) ms = Math.min(ms, await time(shape));
    samples.push({ ...shape, ms });
    return ms;
  };
  const isAffordable = (shape: Shape, mostMs: number): boolean =>
    predictMs(fitCost(samples), shape) <= Math.min(mostMs, endAtMs - performance.now()) && fits(shape);

  const length = usualLength(maxTokens);
  for (const short of SHORT_LENGTHS) await take({ count: 1, length: Math.min(short, length) });
  const long = LONG_LENGTHS.find(
    (one) => one <= maxTokens && isAffordable({ count: 1, length: one }, LONG_MS),
  );
  if (long !== undefined) await take({ count: 1, length: long });
  const firstBudget = samples.length;
  let best = 0;
  let noBetter = 0;
  for (const budget of budgets) {
    const shape = { count: Math.max(1, Math.floor(budget / length)), length: Math.min(length, budget) };
    if (!isAffordable(shape, maxBatchMs) || noBetter === NO_BETTER) break;
    const rate = (shape.count * shape.length) / (await take(shape));
    noBetter = rate > best ? 0 : noBetter + 1;
    best = Math.max(best, rate);
  }
  // The budgets are few percent apart, and one run of each differs by more: the better of two counts.
  for (const sample of samples.slice(firstBudget))
    if (sample.ms >= REPEATED_BELOW_MS && isAffordable(sample, maxBatchMs))
      sample.ms = Math.min(sample.ms, await time(sample));
  return samples;
}
