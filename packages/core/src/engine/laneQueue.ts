import type { Call } from './call.ts';
import { byLength, chooseBatch, type PackOptions, type Waiting } from './pack.ts';

/** One text of a call that waits for the device. */
export interface Item extends Waiting {
  call: Call;
  /** Position in the call. */
  index: number;
  ids: Int32Array;
}

export interface Batch {
  items: Item[];
  /** A part of one that failed: it must not be packed with others again. */
  isRetry: boolean;
}

/** What waits in one lane. */
export class LaneQueue {
  /** In the order of `byLength`. */
  #items: Item[] = [];
  /** Parts of a batch that failed, which run before anything new. */
  #retries: Item[][] = [];
  /** Texts here of each call, so that deadlines and leavers are looked for by call and not by text. */
  readonly #calls = new Map<Call, number>();

  get isEmpty(): boolean {
    return this.#items.length === 0 && this.#retries.length === 0;
  }

  add(items: readonly Item[]): void {
    this.#count(items, 1);
    // Two sorted runs, which the sort only has to merge.
    this.#items = this.#items.concat(items.toSorted(byLength)).sort(byLength);
  }

  /** In the order given, before other retries. */
  retry(batches: readonly Item[][]): void {
    this.#count(batches.flat(), 1);
    this.#retries.unshift(...batches);
  }

  /** Gives up calls past their deadline, and takes out what nobody waits for any more. */
  dropEnded(nowMs: number): void {
    let ended = false;
    for (const call of this.#calls.keys()) {
      call.dropIfLate(nowMs);
      if (!call.ended) continue;
      ended = true;
      this.#calls.delete(call);
    }
    if (!ended) return;
    this.#items = this.#items.filter(({ call }) => !call.ended);
    this.#retries = this.#retries
      .map((items) => items.filter(({ call }) => !call.ended))
      .filter((items) => items.length > 0);
  }

  /** The next batch; empty where nothing waits. */
  take(options: PackOptions): Batch {
    const batch = this.#next(options);
    this.#count(batch.items, -1);
    return batch;
  }

  #next(options: PackOptions): Batch {
    const retry = this.#retries.shift();
    if (retry !== undefined) return { items: retry, isRetry: true };
    const { from, to } = chooseBatch(this.#items, options);
    return { items: this.#items.splice(from, to - from), isRetry: false };
  }

  /** What was taken and has not run. */
  giveBack({ items, isRetry }: Batch): void {
    if (isRetry) this.retry([items]);
    else this.add(items);
  }

  /** Ends every call that waits. */
  refuse(error: unknown): void {
    for (const call of this.#calls.keys()) call.fail(error);
    this.#calls.clear();
    this.#items = [];
    this.#retries = [];
  }

  #count(items: readonly Item[], step: 1 | -1): void {
    for (const { call } of items) {
      const texts = (this.#calls.get(call) ?? 0) + step;
      if (texts > 0) this.#calls.set(call, texts);
      else this.#calls.delete(call);
    }
  }
}
