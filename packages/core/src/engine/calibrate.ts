/** The first runs on a device: what the model's vectors measure, and how large a batch may be. */
import { TrivecError } from '../errors.ts';
import type { Device, Wants } from './device.ts';

/** Budget that was best on CPUs, where small batches stay in the caches, and one that keeps a GPU busy. */
const CPU_CEILING = 2048;
const GPU_CEILING = 16_384;
const LEAST = 64;

export interface Measured {
  denseDims: number;
  colbertDims: number;
}

/**
 * Runs one text for all outputs and reads the sizes of its vectors.
 * Throws `invalid_model` where the model cannot run it.
 */
export async function measureDims(device: Device, text: Int32Array, wants: Wants): Promise<Measured> {
  try {
    const { vectors } = await device.run({ texts: [text], wants: [wants] });
    const [first] = vectors;
    if (first === undefined) throw new Error('the vectors of a short text are not finite');
    return { denseDims: first.dense?.length ?? 0, colbertDims: first.colbert?.dims ?? 0 };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TrivecError('invalid_model', `The model does not run: ${reason}`, { cause });
  }
}

/** Real tokens per second of one text, the better of two runs. */
export async function measureRate(device: Device, text: Int32Array, wants: Wants): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 2; run++) {
    const startedAt = performance.now();
    await device.run({ texts: [text], wants: [wants] });
    least = Math.min(least, performance.now() - startedAt);
  }
  return (text.length / least) * 1000;
}

/** Padded tokens of a batch: the best known for the kind of device, less where that would take longer than it may. */
export function budgetFor(deviceName: string, tokensPerSecond: number, maxBulkBatchMs: number): number {
  const ceiling = deviceName === 'cpu' ? CPU_CEILING : GPU_CEILING;
  const within = Math.floor((tokensPerSecond * maxBulkBatchMs) / 1000 / LEAST) * LEAST;
  return Math.min(ceiling, Math.max(LEAST, within));
}
