/** What the scheduler runs batches on: an inference thread, or in tests a stub. */
import type { TextVectors } from '../vectors/types.ts';

/** What one text of a batch is wanted for. */
export interface Wants {
  dense: boolean;
  sparse: boolean;
  colbert: boolean;
  /** Length of the dense vector: the first so many numbers, 0 for all. */
  dimensions: number;
  /** L2-normalise dense. */
  normalize: boolean;
}

export interface DeviceBatch {
  /** Token ids, special tokens included; not padded. */
  texts: readonly Int32Array[];
  /** As many as texts. */
  wants: readonly Wants[];
  /** As many as texts: where the second text of a pair begins, 0 for a text that stands alone. */
  secondFrom?: readonly number[];
}

export interface DeviceResult {
  /**
   * One a text; undefined where the model gave numbers that are not finite.
   * The vectors of a batch are views into one buffer a kind: a copy frees the others.
   */
  vectors: (TextVectors | undefined)[];
  /** Milliseconds of the forward pass. */
  inferMs: number;
}

/**
 * out_of_memory: a smaller batch may fit. failed: this batch cannot be run. died: what ran is lost, and the device
 * starts again. not_run: it died before it came to this batch. unavailable: it is gone for good.
 */
export type DeviceFailure = 'out_of_memory' | 'failed' | 'died' | 'not_run' | 'unavailable';

export class DeviceError extends Error {
  override readonly name = 'DeviceError';
  readonly failure: DeviceFailure;

  constructor(failure: DeviceFailure, message: string, options?: ErrorOptions) {
    super(message, options);
    this.failure = failure;
  }
}

export interface Device {
  /** `cpu`, `cuda:0`, … as shown to users. */
  readonly name: string;
  /**
   * One forward pass at a time: the next batch may be given when `onPassed` was called, or at the latest when the
   * promise has settled; the vectors follow while it runs. Rejects with `DeviceError`.
   */
  run(batch: DeviceBatch, onPassed?: () => void): Promise<DeviceResult>;
  /** Lets a running batch end. Idempotent. */
  close(): Promise<void>;
}
