/** How fast old measurements lose weight. */
const HALF_LIFE_MS = 5_000;

/** Cost per millisecond while something runs: a decaying mean over the recent past. */
export class RateEstimate {
  readonly #now: () => number;
  #sinceMs = 0;
  #cost = 0;
  #busyMs = 0;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** The first of a busy spell starts. */
  started(): void {
    this.#sinceMs = this.#now();
  }

  /** Something of this cost has ended. */
  ended(cost: number): void {
    const nowMs = this.#now();
    const passedMs = nowMs - this.#sinceMs;
    const kept = 0.5 ** (passedMs / HALF_LIFE_MS);
    this.#cost = this.#cost * kept + cost;
    this.#busyMs = this.#busyMs * kept + passedMs;
    this.#sinceMs = nowMs;
  }

  /** 0 before the first end. */
  costPerMs(): number {
    return this.#busyMs === 0 ? 0 : this.#cost / this.#busyMs;
  }
}
