import { TrivecError } from '../errors.ts';
import { announce } from './announce.ts';
import { type BatchLimitOptions, BatchLimits, shapeOf } from './batchLimits.ts';
import type { Call } from './call.ts';
import { type Device, DeviceError, type DeviceResult } from './device.ts';
import { type Batch, type Item, LaneQueue } from './laneQueue.ts';
import { chooseLane } from './pack.ts';
import { RateMeter } from './rateMeter.ts';
import { splitBatch } from './splitBatch.ts';
import type { Lane } from './types.ts';

export interface SchedulerOptions extends BatchLimitOptions {
  /** A text that the model is known to run: whether the device is sound is asked with it. */
  probe: Int32Array;
  /** Part of the device's time that bulk gets while interactive work waits too. */
  bulkShare?: number;
  /** Told once the device is gone for good. */
  onUnavailable?: (error: TrivecError) => void;
}

const BULK_SHARE = 0.2;

/** The next bulk batch, chosen while another one runs. */
interface Prepared extends Batch {
  /** Nothing else waited: what comes meanwhile may be packed with it. */
  isRest: boolean;
  /** Its callers know. */
  isAnnounced: boolean;
}

/**
 * One device, two lanes. What waits is packed as soon as the device is free, interactive work first. The next bulk
 * batch is chosen and announced while the device runs, so that neither a slow ledger nor whoever takes the vectors
 * keeps it waiting. A batch that fails is split until the text at fault stands alone.
 */
export class Scheduler {
  readonly #device: Device;
  readonly #lanes: Record<Lane, LaneQueue> = { interactive: new LaneQueue(), bulk: new LaneQueue() };
  readonly #limits: BatchLimits;
  readonly #options: SchedulerOptions;
  readonly #rate = new RateMeter();
  /** Batches that the device has and whose vectors are not here yet. */
  readonly #flying = new Map<readonly Item[], Promise<void>>();
  #prepared: Prepared | undefined;
  #announcing: Promise<void> = Promise.resolve();
  /** Texts that died alone, until the device shows that it runs others. */
  #accused: { lane: Lane; item: Item; error: unknown }[] = [];
  #arrivals = 0;
  #interactiveMsSinceBulk = 0;
  #lastBulkMs = 0;
  #pumping: Promise<void> | undefined;
  #changed = Promise.withResolvers<void>();
  #refusal: TrivecError | undefined;

  constructor(device: Device, options: SchedulerOptions) {
    this.#device = device;
    this.#options = options;
    this.#limits = new BatchLimits(options);
  }

  get maxBatchTokens(): number {
    return this.#limits.tokens;
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
    const arrival = this.#arrivals++;
    this.#lanes[call.lane].add(
      texts.map((ids, i) => ({ tokens: ids.length, arrival, call, index: indexes[i]!, ids })),
    );
    if (call.lane === 'bulk' && this.#prepared?.isRest) {
      this.#unprepare();
      this.#prepare();
    }
    this.#wake();
  }

  /** Takes a call's texts out that have not run, and ends it with the error. */
  withdraw(call: Call, error: TrivecError): void {
    call.fail(error);
    this.#lanes[call.lane].dropEnded(Date.now());
    this.#changed.resolve();
  }

  /** Ends what waits with `shutting_down`; resolves when the running batch has ended. Idempotent. */
  async close(): Promise<void> {
    this.#refuse(new TrivecError('shutting_down', 'The engine is closing.'));
    await this.#pumping;
    await Promise.all(this.#flying.values());
  }

  #refuse(error: TrivecError): void {
    this.#refusal ??= error;
    this.#unprepare();
    for (const { item } of this.#accused.splice(0)) item.call.fail(this.#refusal);
    for (const lane of Object.values(this.#lanes)) lane.refuse(this.#refusal);
    this.#changed.resolve();
  }

  #wake(): void {
    this.#changed.resolve();
    if (this.#pumping !== undefined) return;
    this.#pumping = this.#pump().finally(() => {
      this.#pumping = undefined;
      if (this.#hasWork()) this.#wake();
    });
  }

  #hasWork(): boolean {
    return this.#accused.length > 0 || this.#isWaiting('interactive') || this.#isWaiting('bulk');
  }

  async #pump(): Promise<void> {
    // One turn of the event loop, so that calls made together are packed together.
    await new Promise(setImmediate);
    for (;;) {
      if (this.#accused.length > 0) await this.#judge();
      const lane = this.#nextLane();
      if (lane === undefined) return;
      const items = lane === 'interactive' ? this.#take(lane).items : await this.#takePrepared();
      if (items.length > 0) await this.#run(lane, items);
    }
  }

  #nextLane(): Lane | undefined {
    const now = Date.now();
    for (const lane of Object.values(this.#lanes)) lane.dropEnded(now);
    if (this.#prepared?.items.some(({ call }) => call.ended)) {
      // What is left of it is filled up from what waits.
      this.#unprepare();
      this.#lanes.bulk.dropEnded(now);
    }
    this.#prepare();
    const interactiveWaiting = this.#isWaiting('interactive');
    return chooseLane({
      interactiveWaiting,
      // A slow ledger must not keep those waiting who wait for an answer.
      bulkWaiting: interactiveWaiting ? this.#prepared?.isAnnounced === true : this.#isWaiting('bulk'),
      interactiveMsSinceBulk: this.#interactiveMsSinceBulk,
      lastBulkMs: this.#lastBulkMs,
      bulkShare: this.#options.bulkShare ?? BULK_SHARE,
    });
  }

  #isWaiting(lane: Lane): boolean {
    return !this.#lanes[lane].isEmpty || (lane === 'bulk' && this.#prepared !== undefined);
  }

  #take(lane: Lane): Batch {
    return this.#lanes[lane].take({
      maxBatchTokens: this.#limits.tokens,
      maxTexts: this.#limits.maxTexts,
      costMs: this.#limits.costMs,
      // Few wait for an answer at once; of a corpus there is always enough.
      withLonger: lane === 'interactive',
    });
  }

  /** The prepared batch; none where something came up while its callers were told. */
  async #takePrepared(): Promise<Item[]> {
    if (this.#prepared === undefined) return [];
    if (!this.#prepared.isAnnounced) {
      this.#changed = Promise.withResolvers();
      await this.#changed.promise;
      return [];
    }
    const { items } = this.#prepared;
    this.#prepared = undefined;
    return items;
  }

  #prepare(): void {
    if (this.#prepared !== undefined || this.#lanes.bulk.isEmpty || this.#refusal !== undefined) return;
    const batch = this.#take('bulk');
    const isRest = !batch.isRetry && this.#lanes.bulk.isEmpty;
    const prepared: Prepared = { ...batch, isRest, isAnnounced: false };
    this.#prepared = prepared;
    // One after the other: what a caller notes last must be what was said last.
    this.#announcing = this.#announcing.then(async () => {
      if (this.#prepared !== prepared) return;
      await announce(batch.items, [...this.#flying.keys()].flat());
      prepared.isAnnounced = true;
      this.#changed.resolve();
    });
  }

  #unprepare(): void {
    if (this.#prepared === undefined) return;
    this.#lanes.bulk.giveBack(this.#prepared);
    this.#prepared = undefined;
  }

  /** Resolves when the device can take another batch; the vectors of this one may still be on their way. */
  async #run(lane: Lane, batch: Item[]): Promise<void> {
    const startedAt = performance.now();
    const free = Promise.withResolvers<void>();
    const landed = this.#device
      .run(
        {
          texts: batch.map(({ ids }) => ids),
          wants: batch.map(({ call }) => call.wants),
          secondFrom: batch.map(({ call, index }) => call.secondFromOf(index)),
        },
        free.resolve,
      )
      .then(
        (result) => this.#deliver(batch, result),
        (error: unknown) => this.#recover(lane, batch, error),
      )
      .finally(() => {
        this.#flying.delete(batch);
        free.resolve();
      });
    this.#flying.set(batch, landed);
    // When this batch is on its way.
    setImmediate(() => this.#prepare());
    await free.promise;
    this.#account(lane, performance.now() - startedAt);
  }

  #account(lane: Lane, ms: number): void {
    if (lane === 'bulk') {
      this.#lastBulkMs = ms;
      this.#interactiveMsSinceBulk = 0;
    } else if (this.#isWaiting('bulk')) this.#interactiveMsSinceBulk += ms;
  }

  #deliver(batch: readonly Item[], { vectors, inferMs }: DeviceResult): void {
    this.#limits.succeeded(shapeOf(batch), inferMs);
    this.#rate.add(
      batch.reduce((sum, { tokens }) => sum + tokens, 0),
      inferMs,
    );
    for (const call of new Set(batch.map((item) => item.call))) call.addInferMs(inferMs);
    for (const [i, { call, index }] of batch.entries())
      call.settle(index, vectors[i] ?? failed('it gave numbers that are not finite for this text.'));
  }

  #recover(lane: Lane, batch: Item[], error: unknown): void {
    const failure = error instanceof DeviceError ? error.failure : 'failed';
    if (failure === 'unavailable') {
      this.#giveUp(batch, error);
      return;
    }
    if (failure === 'out_of_memory') this.#limits.outOfMemory(shapeOf(batch));
    // It was chosen under limits that may have changed, and what failed goes first.
    this.#unprepare();
    if (failure === 'not_run') this.#lanes[lane].retry([batch]);
    else if (batch.length > 1)
      this.#lanes[lane].retry(splitBatch(batch, failure === 'died' ? 'few deaths' : 'halves'));
    else if (failure === 'died') this.#accused.push({ lane, item: batch[0]!, error });
    else batch[0]!.call.settle(batch[0]!.index, failed(messageOf(error), error));
    this.#wake();
  }

  /** A device that closes is not broken: `close` has told the calls already. */
  #giveUp(batch: readonly Item[], error: unknown): void {
    const gone = new TrivecError('model_unavailable', 'The device is gone.', { cause: error });
    const isNew = this.#refusal === undefined;
    this.#refuse(gone);
    for (const { call } of batch) call.fail(this.#refusal ?? gone);
    if (isNew) this.#options.onUnavailable?.(gone);
  }

  /**
   * A text that died alone is at fault only where the device lives with another one; if it does not, the text
   * has its turn again, until the device is sound or gone for good.
   */
  async #judge(): Promise<void> {
    await Promise.all(this.#flying.values());
    const accused = this.#accused.splice(0);
    if (accused.length === 0) return;
    try {
      await this.#device.run({ texts: [this.#options.probe], wants: [accused[0]!.item.call.wants] });
      for (const { item, error } of accused) item.call.settle(item.index, failed(messageOf(error), error));
    } catch (error) {
      const items = accused.map(({ item }) => item);
      if (error instanceof DeviceError && error.failure === 'unavailable') this.#giveUp(items, error);
      else for (const { lane, item } of accused) this.#lanes[lane].retry([[item]]);
    }
  }
}

function failed(reason: string, cause?: unknown): TrivecError {
  return new TrivecError('model_failed', `The model failed: ${reason}`, { cause });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
