/** What the engine and its inference thread say to each other. */
import type { GraphInput } from '../models/graphContract.ts';
import type { YesNo } from '../onnx/addYesNo.ts';
import type { HeadPlan, PaddingSide } from '../vectors/headPlan.ts';
import type { PackedBatch, PackedVectors } from './finishBatch.ts';
import type { Provider } from './providers.ts';

export interface ThreadSetup {
  graphFile: string;
  addedHeadsFolder: string | undefined;
  inputs: readonly GraphInput[];
  heads: HeadPlan;
  yesNo: YesNo | undefined;
  padId: number;
  paddingSide: PaddingSide;
  providers: readonly Provider[];
  intraOpThreads: number;
  /** For onnxruntime's own bound instead of a moment: threads that spin answer sooner, and burn a core each meanwhile. */
  allowSpinning: boolean;
  /** One int32: 1 asks the thread to stop before its next run. */
  stop: SharedArrayBuffer;
}

/** A provider that could not be had, and why. */
export interface Refusal {
  device: string;
  reason: string;
}

export type ToThread = { type: 'run'; batch: PackedBatch } | { type: 'stop' };

export type FromThread =
  | { type: 'ready'; device: string; refused: readonly Refusal[] }
  | { type: 'unusable'; refused: readonly Refusal[] }
  /** The model's files are at fault, whatever the device. */
  | { type: 'invalid'; message: string }
  /** The forward pass has ended: the next batch may come, while the vectors of this one are finished. */
  | { type: 'passed' }
  | { type: 'done'; vectors: PackedVectors; inferMs: number }
  | { type: 'failed'; message: string; outOfMemory: boolean };
