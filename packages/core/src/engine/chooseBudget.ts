/** The token budget with the most real tokens a second, from what shapes took. Pure. */
import {
  BATCH_OVERHEAD_MS,
  type BatchCost,
  predictBatchMs,
  type Shape,
  type Timed,
  textsWithin,
} from './costModel.ts';
import { byLength, chooseBatch } from './pack.ts';
import { usualLength } from './sweep.ts';

export interface BudgetLimits {
  maxTokens: number;
  maxBatchMs: number;
  fits?: (shape: Shape) => boolean;
  /** What such devices do best with as a rule. */
  usualBudget?: number;
}

const LEAST = 64;
/** A smaller budget that is nearly as fast is better: shorter waits, less memory. */
const NEARLY = 0.99;
/** Two runs of the same batch differ by as much: a usual budget is left for one that is better by more. */
const USUAL_WITHIN = 0.95;

/**
 * Among the budgets that were timed with texts of the usual length: their speed, less what they pad in a usual pool.
 * Where even the smallest takes too long, what fits into the time.
 */
export function chooseBudget(
  samples: readonly Timed[],
  cost: BatchCost,
  { maxTokens, maxBatchMs, fits = () => true, usualBudget }: BudgetLimits,
): number {
  const length = usualLength(maxTokens);
  const candidates = samples
    .filter((sample) => sample.length === length && sample.ms <= maxBatchMs && fits(sample))
    .map((sample) => {
      const budget = sample.count * sample.length;
      return {
        budget,
        speed: (budget / (sample.ms + BATCH_OVERHEAD_MS)) * paddingEfficiency(budget, maxTokens, cost),
      };
    })
    .sort((a, b) => a.budget - b.budget);
  const most = Math.max(...candidates.map(({ speed }) => speed));
  const usual = candidates.find(({ budget }) => budget === usualBudget);
  const chosen =
    usual !== undefined && usual.speed >= most * USUAL_WITHIN
      ? usual
      : candidates.find(({ speed }) => speed >= most * NEARLY);
  if (chosen !== undefined) return Math.max(LEAST, chosen.budget);
  const within = textsWithin(cost, length, maxBatchMs) * length;
  return Number.isFinite(within) ? Math.max(LEAST, Math.floor(within / LEAST) * LEAST) : LEAST;
}

/** Two shards of texts: about what is at hand when a batch is chosen. */
const POOL_TEXTS = 512;
const MEDIAN_TOKENS = 120;
/** Of the logarithm: the 95th percentile is 500 tokens. */
const DEVIATION = Math.log(500 / MEDIAN_TOKENS) / 1.645;

/** Real tokens ÷ padded tokens of a pool with log-normal lengths, packed under a budget as the scheduler does it. */
function paddingEfficiency(budget: number, maxTokens: number, cost: BatchCost): number {
  const costMs = (shape: Shape) => predictBatchMs(cost, shape);
  const pool = Array.from({ length: POOL_TEXTS }, (_, i) => {
    const share = (i + 0.5) / POOL_TEXTS;
    // The normal quantile as a difference of powers (Joiner and Rosenblatt 1971), within 0.01.
    const quantile = 4.91 * (share ** 0.14 - (1 - share) ** 0.14);
    const tokens = Math.round(MEDIAN_TOKENS * Math.exp(DEVIATION * quantile));
    return { tokens: Math.min(maxTokens, Math.max(3, tokens)), arrival: 0 };
  }).sort(byLength);
  const real = pool.reduce((sum, { tokens }) => sum + tokens, 0);
  let padded = 0;
  while (pool.length > 0) {
    const { to } = chooseBatch(pool, { maxBatchTokens: budget, costMs, withLonger: false });
    const batch = pool.splice(0, to);
    padded += batch[0]!.tokens * batch.length;
  }
  return real / padded;
}
