/** What a batch takes in memory beside the model, in bytes. Pure. */
import type { Shape } from './costModel.ts';

export interface BatchMemory {
  /** A padded token's activations, as measured. */
  bytesPerToken: number;
}

/** Attention's scores and their softmax for 16 heads in float32, a pair of tokens; a fused kernel takes less. */
const BYTES_PER_PAIR = 2 * 16 * 4;

export function bytesOfBatch({ bytesPerToken }: BatchMemory, { count, length }: Shape): number {
  return count * (bytesPerToken * length + BYTES_PER_PAIR * length ** 2);
}

/** How many texts of a length fit; may be below 1. */
export function textsWithinBytes(memory: BatchMemory, length: number, bytes: number): number {
  return bytes / bytesOfBatch(memory, { count: 1, length });
}
