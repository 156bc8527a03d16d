/** One call of `embed`: its texts, what has become of them, and how it ends. */
import { TrivecError } from '../errors.ts';
import type { TextVectors } from '../vectors/types.ts';
import type { Wants } from './device.ts';
import type { EmbedResult, Lane } from './types.ts';

export interface CallOptions {
  lane: Lane;
  wants: Wants;
  deadlineAtMs?: number | undefined;
  /** Where the second text of each begins; 0 for a text that stands alone. */
  secondFrom?: readonly number[];
  onBatch?: ((indexes: readonly number[]) => Promise<void>) | undefined;
}

export class Call {
  readonly lane: Lane;
  readonly wants: Wants;
  readonly result: Promise<EmbedResult>;
  readonly #options: CallOptions;
  readonly #vectors: (TextVectors | TrivecError | undefined)[];
  readonly #settle = Promise.withResolvers<EmbedResult>();
  #open: number;
  #inferMs = 0;
  #ended = false;

  constructor(texts: number, options: CallOptions) {
    this.lane = options.lane;
    this.wants = options.wants;
    this.result = this.#settle.promise;
    this.#options = options;
    this.#vectors = new Array(texts);
    this.#open = texts;
    if (texts === 0) this.#finish();
  }

  /** True once it was answered or given up: its texts need not run any more. */
  get ended(): boolean {
    return this.#ended;
  }

  secondFromOf(index: number): number {
    return this.#options.secondFrom?.[index] ?? 0;
  }

  /** Gives the whole call up. Later outcomes of its texts are ignored. */
  fail(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#settle.reject(error);
  }

  dropIfLate(nowMs: number): void {
    const { deadlineAtMs } = this.#options;
    if (deadlineAtMs !== undefined && nowMs > deadlineAtMs)
      this.fail(new TrivecError('deadline_exceeded', 'The deadline passed before the texts could run.'));
  }

  /** Tells the caller what is about to run; gives the call up where that fails. */
  async announce(indexes: readonly number[]): Promise<void> {
    try {
      await this.#options.onBatch?.(indexes);
    } catch (error) {
      this.fail(error);
    }
  }

  addInferMs(ms: number): void {
    this.#inferMs += ms;
  }

  settle(index: number, outcome: TextVectors | TrivecError): void {
    this.#vectors[index] = outcome;
    this.#open--;
    if (this.#open === 0) this.#finish();
  }

  #finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#settle.resolve({ vectors: this.#vectors as EmbedResult['vectors'], inferMs: this.#inferMs });
  }
}
