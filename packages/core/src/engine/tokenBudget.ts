/** Good batches in a row before a lowered budget is tried a step higher. */
const STEADY_BATCHES = 64;
const STEP_UP = 1.25;

/** The token budget of a batch: halved when memory runs out, raised again in steps, never above where it began. */
export class TokenBudget {
  readonly #ceiling: number;
  readonly #floor: number;
  #current: number;
  #steady = 0;

  constructor(tokens: number) {
    this.#ceiling = tokens;
    this.#floor = Math.min(tokens, 32);
    this.#current = tokens;
  }

  get tokens(): number {
    return this.#current;
  }

  /** `batchTokens` is what did not fit: longest × count. */
  outOfMemory(batchTokens: number): void {
    this.#steady = 0;
    this.#current = Math.max(this.#floor, Math.floor(Math.min(this.#current, batchTokens) / 2));
  }

  succeeded(): void {
    if (this.#current === this.#ceiling || ++this.#steady < STEADY_BATCHES) return;
    this.#steady = 0;
    this.#current = Math.min(this.#ceiling, Math.ceil(this.#current * STEP_UP));
  }
}
