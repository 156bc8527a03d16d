import { TrivecError } from '../errors.ts';
import type { TextVectors } from '../vectors/types.ts';
import type { Call } from './call.ts';
import { type Device, DeviceError, type DeviceResult } from './device.ts';
import { byLength, chooseBatch, chooseLane, type Waiting } from './pack.ts';
import { RateMeter } from './rateMeter.ts';
import { TokenBudget } from './tokenBudget.ts';
import type { Lane } from './types.ts';

export interface SchedulerOptions {
  maxBatchTokens: number;
  /** Part of the device's time that bulk gets while interactive work waits too. */
  bulkShare?: number;
  /** A bulk text that has waited this long is in the next bulk batch. */
  bulkMaxAgeMs?: number;
  /** Told once the device is gone for good. */
  onUnavailable?: (error: TrivecError) => void;
}

const BULK_SHARE = 0.2;
const BULK_MAX_AGE_MS = 30_000;

interface Item extends Waiting {
  call: Call;
  /** Position in the call. */
  index: number;
  ids: Int32Array;
}

interface LaneQueue {
  /** In the order of `byLength`. */
  items: Item[];
  /** Parts of a batch that failed, which run before anything new. */
  retries: Item[][];
}

/**
 * One device, two lanes. What waits is packed as soon as the device is free, interactive work first.
 * A batch that fails is halved until the text at fault stands alone.
 */
export class Scheduler {
  readonly #device: Device;
  readonly #lanes: Record<Lane, LaneQueue> = {
    interactive: { items: [], retries: [] },
    bulk: { items: [], retries: [] },
  };
  readonly #budget: TokenBudget;
  readonly #options: SchedulerOptions;
  readonly #rate = new RateMeter();
  #interactiveMsSinceBulk = 0;
  #lastBulkMs = 0;
  #pumping: Promise<void> | undefined;
  #refusal: TrivecError | undefined;

  constructor(device: Device, options: SchedulerOptions) {
    this.#device = device;
    this.#options = options;
    this.#budget = new TokenBudget(options.maxBatchTokens);
  }

  get maxBatchTokens(): number {
    return this.#budget.tokens;
  }

  tokensPerSecond(): number {
    return this.#rate.tokensPerSecond();
  }

  /** `indexes[i]` is the place of `texts[i]` in the call. The call tells the outcome. */
  submit(call: Call, texts: readonly Int32Array[], indexes: readonly number[]): void {
    if (this.#refusal !== undefined) {
      call.fail(this.#refusal);
      return;
    }
    const lane = this.#lanes[call.lane];
    const enqueuedAtMs = Date.now();
    for (const [i, ids] of texts.entries())
      lane.items.push({ tokens: ids.length, enqueuedAtMs, call, index: indexes[i]!, ids });
    lane.items.sort(byLength);
    this.#wake();
  }

  /** Takes a call's texts out that have not run, and ends it with the error. */
  withdraw(call: Call, error: TrivecError): void {
    call.fail(error);
    this.#dropEnded(this.#lanes[call.lane]);
  }

  /** Ends what waits with `shutting_down`; resolves when the running batch has ended. Idempotent. */
  async close(): Promise<void> {
    this.#refuse(new TrivecError('shutting_down', 'The engine is closing.'));
    await this.#pumping;
  }

  #refuse(error: TrivecError): void {
    this.#refusal ??= error;
    for (const lane of Object.values(this.#lanes)) {
      for (const item of [...lane.items, ...lane.retries.flat()]) item.call.fail(this.#refusal);
      lane.items = [];
      lane.retries = [];
    }
  }

  #wake(): void {
    if (this.#pumping !== undefined) return;
    this.#pumping = this.#pump().finally(() => {
      this.#pumping = undefined;
      if (this.#isWaiting('interactive') || this.#isWaiting('bulk')) this.#wake();
    });
  }

  async #pump(): Promise<void> {
    // One turn of the event loop, so that calls made together are packed together.
    await new Promise(setImmediate);
    for (let lane = this.#nextLane(); lane !== undefined; lane = this.#nextLane()) {
      const batch = await this.#announce(this.#take(lane));
      if (batch.length > 0) await this.#run(lane, batch);
    }
  }

  #nextLane(): Lane | undefined {
    const now = Date.now();
    for (const lane of Object.values(this.#lanes)) {
      for (const { call } of lane.items) call.dropIfLate(now);
      this.#dropEnded(lane);
    }
    return chooseLane({
      interactiveWaiting: this.#isWaiting('interactive'),
      bulkWaiting: this.#isWaiting('bulk'),
      interactiveMsSinceBulk: this.#interactiveMsSinceBulk,
      lastBulkMs: this.#lastBulkMs,
      bulkShare: this.#options.bulkShare ?? BULK_SHARE,
    });
  }

  #isWaiting(lane: Lane): boolean {
    return this.#lanes[lane].items.length > 0 || this.#lanes[lane].retries.length > 0;
  }

  #dropEnded(lane: LaneQueue): void {
    if (lane.items.some(({ call }) => call.ended)) lane.items = lane.items.filter(({ call }) => !call.ended);
    lane.retries = lane.retries
      .map((items) => items.filter(({ call }) => !call.ended))
      .filter((items) => items.length > 0);
  }

  #take(lane: Lane): Item[] {
    const queue = this.#lanes[lane];
    const retry = queue.retries.shift();
    if (retry !== undefined) return retry;
    const { from, to } = chooseBatch(queue.items, {
      maxBatchTokens: this.#budget.tokens,
      nowMs: Date.now(),
      // Whoever waits for an answer is served in turn; a corpus is packed for the least padding.
      maxAgeMs: lane === 'interactive' ? 0 : (this.#options.bulkMaxAgeMs ?? BULK_MAX_AGE_MS),
    });
    return queue.items.splice(from, to - from);
  }

  /** Tells every call which of its texts are about to run. Returns the texts that are still wanted. */
  async #announce(batch: readonly Item[]): Promise<Item[]> {
    const indexes = new Map<Call, number[]>();
    for (const { call, index } of batch) {
      const list = indexes.get(call);
      if (list === undefined) indexes.set(call, [index]);
      else list.push(index);
    }
    await Promise.all([...indexes].map(([call, list]) => call.announce(list)));
    return batch.filter(({ call }) => !call.ended);
  }

  async #run(lane: Lane, batch: Item[]): Promise<void> {
    const startedAt = performance.now();
    try {
      const result = await this.#device.run({
        texts: batch.map(({ ids }) => ids),
        wants: batch.map(({ call }) => call.wants),
        secondFrom: batch.map(({ call, index }) => call.secondFromOf(index)),
      });
      this.#budget.succeeded();
      this.#rate.add(realTokens(batch), performance.now() - startedAt);
      this.#deliver(batch, result);
    } catch (error) {
      this.#recover(lane, batch, error);
    }
    this.#account(lane, performance.now() - startedAt);
  }

  #account(lane: Lane, ms: number): void {
    if (lane === 'bulk') {
      this.#lastBulkMs = ms;
      this.#interactiveMsSinceBulk = 0;
    } else if (this.#isWaiting('bulk')) this.#interactiveMsSinceBulk += ms;
  }

  #deliver(batch: readonly Item[], { vectors, inferMs }: DeviceResult): void {
    for (const call of new Set(batch.map((item) => item.call))) call.addInferMs(inferMs);
    for (const [i, { call, index }] of batch.entries()) call.settle(index, vectors[i] ?? notFinite());
  }

  #recover(lane: Lane, batch: Item[], error: unknown): void {
    const failure = error instanceof DeviceError ? error.failure : 'failed';
    if (failure === 'unavailable') {
      // A device that closes is not broken: `close` has told the calls already.
      const gone = new TrivecError('model_unavailable', 'The device is gone.', { cause: error });
      const isNew = this.#refusal === undefined;
      this.#refuse(gone);
      for (const { call } of batch) call.fail(this.#refusal ?? gone);
      if (isNew) this.#options.onUnavailable?.(gone);
      return;
    }
    if (failure === 'out_of_memory') this.#budget.outOfMemory(batch[0]!.tokens * batch.length);
    if (failure === 'died' || batch.length === 1) {
      const message = error instanceof Error ? error.message : String(error);
      for (const { call, index } of batch)
        call.settle(index, new TrivecError('model_failed', `The model failed: ${message}`, { cause: error }));
      return;
    }
    const half = Math.ceil(batch.length / 2);
    this.#lanes[lane].retries.unshift(batch.slice(0, half), batch.slice(half));
  }
}

function notFinite(): TextVectors | TrivecError {
  return new TrivecError('model_failed', 'The model gave numbers that are not finite for this text.');
}

function realTokens(batch: readonly Item[]): number {
  return batch.reduce((sum, { tokens }) => sum + tokens, 0);
}
