import { type BatchCost, predictBatchMs, predictMs, type Shape, textsWithin } from './costModel.ts';
import { type BatchMemory, textsWithinBytes } from './memoryModel.ts';
import type { Waiting } from './pack.ts';
import { TokenBudget } from './tokenBudget.ts';

export interface BatchLimitOptions {
  /** Padded tokens at most. */
  maxBatchTokens: number;
  /** With it batches are bounded in time; without it by tokens alone. */
  time?: { cost: BatchCost; maxMs: number } | undefined;
  memory?: { model: BatchMemory; maxBytes: number } | undefined;
}

/** Of the newest batch in what the machine is taken to be slower, or faster, than it was when it was measured. */
const NEWEST_WEIGHT = 0.1;
/** One odd measurement must not move the limits by more. */
const MOST_ODD = 4;
const [FASTEST, SLOWEST] = [1 / 4, 16];

/**
 * How large a batch may be: within the token budget, which follows what the memory really takes, and within the time
 * that the cost model predicts, corrected by what batches really took.
 */
export class BatchLimits {
  readonly #options: BatchLimitOptions;
  readonly #budget: TokenBudget;
  /** What batches take ÷ what the model says. */
  #pace = 1;

  constructor(options: BatchLimitOptions) {
    this.#options = options;
    this.#budget = new TokenBudget(options.maxBatchTokens);
  }

  get tokens(): number {
    return this.#budget.tokens;
  }

  /** Texts of a length that one batch may have; may be below 1, though one always runs. */
  readonly maxTexts = (length: number): number => {
    const { time, memory } = this.#options;
    return Math.min(
      time === undefined ? Number.POSITIVE_INFINITY : textsWithin(time.cost, length, time.maxMs / this.#pace),
      memory === undefined
        ? Number.POSITIVE_INFINITY
        : textsWithinBytes(memory.model, length, memory.maxBytes),
    );
  };

  /** What a batch will cost this process; undefined without a cost model. */
  get costMs(): ((shape: Shape) => number) | undefined {
    const { time } = this.#options;
    if (time === undefined) return undefined;
    return (shape) => predictBatchMs(time.cost, shape, this.#pace);
  }

  succeeded(shape: Shape, ms: number): void {
    this.#budget.succeeded();
    const { time } = this.#options;
    const expectedMs = time === undefined ? 0 : predictMs(time.cost, shape);
    if (expectedMs <= 0 || ms <= 0) return;
    const seen = ms / expectedMs;
    const bounded = Math.min(this.#pace * MOST_ODD, Math.max(this.#pace / MOST_ODD, seen));
    // Of the logarithms: twice as slow and twice as fast cancel out.
    const pace = this.#pace ** (1 - NEWEST_WEIGHT) * bounded ** NEWEST_WEIGHT;
    this.#pace = Math.min(SLOWEST, Math.max(FASTEST, pace));
  }

  outOfMemory({ count, length }: Shape): void {
    this.#budget.outOfMemory(count * length);
  }
}

/** A failed batch's parts keep its order, but one that was packed around its oldest need not begin with its longest. */
export function shapeOf(batch: readonly Pick<Waiting, 'tokens'>[]): Shape {
  return { count: batch.length, length: batch.reduce((most, { tokens }) => Math.max(most, tokens), 0) };
}
