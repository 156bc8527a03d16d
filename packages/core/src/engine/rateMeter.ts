/** Batches that count as the recent past. */
const WINDOW = 32;

/** Real tokens per second of device time, over the last batches. */
export class RateMeter {
  readonly #batches: { tokens: number; ms: number }[] = [];

  add(tokens: number, ms: number): void {
    this.#batches.push({ tokens, ms });
    if (this.#batches.length > WINDOW) this.#batches.shift();
  }

  /** 0 before the first batch. */
  tokensPerSecond(): number {
    const tokens = this.#batches.reduce((sum, batch) => sum + batch.tokens, 0);
    const ms = this.#batches.reduce((sum, batch) => sum + batch.ms, 0);
    return ms === 0 ? 0 : (tokens / ms) * 1000;
  }
}
