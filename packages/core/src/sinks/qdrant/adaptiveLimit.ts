import { setTimeout as sleep } from 'node:timers/promises';
import pLimit from 'p-limit';

/**
 * How many requests are in flight to one server: halved when it says that it has too many, one more again
 * after a window's worth of answers (additive increase, multiplicative decrease). A pause stops all of them.
 */
export class AdaptiveLimit {
  readonly #max: number;
  readonly #gate: ReturnType<typeof pLimit>;
  #window: number;
  #pausedUntilMs = 0;

  constructor(max: number) {
    this.#max = max;
    this.#window = max;
    this.#gate = pLimit(max);
  }

  /** Requests that may run at once now, 1 to `max`. */
  get current(): number {
    return Math.floor(this.#window);
  }

  /** Runs `task` when there is room and no pause. Rejects with the signal's reason if it aborts before. */
  run<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.#gate(async () => {
      await this.#pauseIsOver(signal);
      return task();
    });
  }

  speedUp(): void {
    this.#set(Math.min(this.#max, this.#window + 1 / this.#window));
  }

  slowDown(): void {
    this.#set(Math.max(1, this.#window / 2));
  }

  /** No request starts for this long; the longest pause asked for counts. */
  pause(ms: number): void {
    this.#pausedUntilMs = Math.max(this.#pausedUntilMs, Date.now() + ms);
  }

  async #pauseIsOver(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    for (let leftMs = this.#pausedUntilMs - Date.now(); leftMs > 0; leftMs = this.#pausedUntilMs - Date.now())
      await sleep(leftMs, undefined, signal ? { signal } : {});
  }

  #set(window: number): void {
    this.#window = window;
    this.#gate.concurrency = this.current;
  }
}
