/** The two heads that BAAI/bge-m3 keeps beside its backbone, as `sparse_linear.pt` and `colbert_linear.pt`. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TrivecError } from '../errors.ts';
import { readTorchCheckpoint } from './torchCheckpoint.ts';

/** y = x · weightᵀ + bias; `weight` is [outDims, inDims] row-major, `bias` [outDims]. */
export interface LinearHead {
  inDims: number;
  outDims: number;
  weight: Float32Array;
  bias: Float32Array;
}

export interface M3Heads {
  /** [1, hidden] */
  sparse: LinearHead;
  /** [colbertDims, hidden]; square in the published model. */
  colbert: LinearHead;
}

export const SPARSE_HEAD_FILE = 'sparse_linear.pt';
export const COLBERT_HEAD_FILE = 'colbert_linear.pt';

/** Reads both files of a folder. Throws `invalid_model` naming the file that is missing or not what it says. */
export async function readM3Heads(folder: string): Promise<M3Heads> {
  const [sparse, colbert] = await Promise.all(
    [SPARSE_HEAD_FILE, COLBERT_HEAD_FILE].map((name) => readHead(folder, name)),
  );
  if (sparse!.outDims !== 1)
    throw new TrivecError(
      'invalid_model',
      `${SPARSE_HEAD_FILE}: one output expected, ${sparse!.outDims} found.`,
    );
  if (sparse!.inDims !== colbert!.inDims)
    throw new TrivecError(
      'invalid_model',
      `${SPARSE_HEAD_FILE} takes ${sparse!.inDims} dimensions, ${COLBERT_HEAD_FILE} ${colbert!.inDims}: they belong to different models.`,
    );
  return { sparse: sparse!, colbert: colbert! };
}

async function readHead(folder: string, name: string): Promise<LinearHead> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(join(folder, name));
  } catch (cause) {
    throw new TrivecError('invalid_model', `${name} cannot be read in ${folder}.`, { cause });
  }
  try {
    return parseHead(bytes);
  } catch (error) {
    if (!(error instanceof TrivecError)) throw error;
    throw new TrivecError('invalid_model', `${name}: ${error.message}`, { cause: error });
  }
}

/** One head from the bytes of its file. Throws `invalid_model`. */
export function parseHead(bytes: Uint8Array): LinearHead {
  const tensors = readTorchCheckpoint(bytes);
  const weight = tensors.get('weight');
  const bias = tensors.get('bias');
  const [outDims = 0, inDims = 0] = weight?.shape ?? [];
  const fits =
    tensors.size === 2 &&
    weight?.shape.length === 2 &&
    bias?.shape.length === 1 &&
    bias.shape[0] === outDims &&
    outDims > 0 &&
    inDims > 0;
  if (!fits) {
    const found = [...tensors].map(([name, { shape }]) => `${name} [${shape}]`).join(', ');
    throw new TrivecError(
      'invalid_model',
      `weight [out, in] and bias [out] expected, found ${found || 'nothing'}.`,
    );
  }
  if (![...weight.values, ...bias.values].every(Number.isFinite))
    throw new TrivecError('invalid_model', 'The head holds values that are not finite.');
  return { inDims, outDims, weight: weight.values, bias: bias.values };
}
