/** Tensors that lie outside the graph file: where they may lie, and opening them. */
import { type FileHandle, open, realpath, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, normalize, sep } from 'node:path';
import { TrivecError } from '../errors.ts';
import type { TensorProto } from './proto.ts';
import { DataType } from './proto.ts';

/** One tensor's place in an external file. `bytes` is its length there. */
export interface ExternalPlace {
  location: string;
  offset: number;
  bytes: number;
}

/** Bytes of one element; absent for strings and for types packed below a byte. */
const ELEMENT_BYTES: Readonly<Partial<Record<DataType, number>>> = {
  [DataType.FLOAT]: 4,
  [DataType.UINT8]: 1,
  [DataType.INT8]: 1,
  [DataType.UINT16]: 2,
  [DataType.INT16]: 2,
  [DataType.INT32]: 4,
  [DataType.INT64]: 8,
  [DataType.BOOL]: 1,
  [DataType.FLOAT16]: 2,
  [DataType.DOUBLE]: 8,
  [DataType.UINT32]: 4,
  [DataType.UINT64]: 8,
  [DataType.BFLOAT16]: 2,
};

export function elementBytes(dataType: number): number | undefined {
  return ELEMENT_BYTES[dataType as DataType];
}

function dimsOf(tensor: TensorProto): number[] {
  return tensor.dims.map(Number);
}

export function elementsOf(tensor: TensorProto): number {
  return dimsOf(tensor).reduce((product, size) => product * size, 1);
}

/** Where the tensor's data lie, or undefined when the graph file holds them. Throws `invalid_model`. */
export function externalPlaceOf(tensor: TensorProto): ExternalPlace | undefined {
  if (tensor.dataLocation !== 1) return undefined;
  const entries = new Map(tensor.externalData.map(({ key, value }) => [key, value]));
  const location = entries.get('location') ?? '';
  const width = elementBytes(tensor.dataType);
  const offset = Number(entries.get('offset') ?? '0');
  const needed = elementsOf(tensor) * (width ?? Number.NaN);
  const bytes = Number(entries.get('length') ?? String(needed));
  if (location === '' || !isSize(offset) || !isSize(bytes) || (width !== undefined && bytes !== needed))
    throw new TrivecError(
      'invalid_model',
      `Tensor ${tensor.name}: its external data are described in a way that does not fit its shape.`,
    );
  return { location, offset, bytes };
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/**
 * Opens an external file of the model in `modelFolder`. It must lie in that folder once links are followed,
 * or in the blob folder of the same repository when the model is a snapshot in the hub's cache.
 * Throws `invalid_model` for a file that is missing or lies elsewhere.
 */
export async function openExternalFile(modelFolder: string, location: string): Promise<FileHandle> {
  const inside = normalize(location);
  if (isAbsolute(inside) || inside === '..' || inside.startsWith(`..${sep}`)) throw outside(location);
  const path = join(modelFolder, inside);
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (cause) {
    throw new TrivecError(
      'invalid_model',
      `The model's data file ${location} is missing in ${modelFolder}.`,
      {
        cause,
      },
    );
  }
  try {
    // Opened first, then compared: a link changed in between would show as another file.
    const [folder, real, opened] = [await realpath(modelFolder), await realpath(path), await file.stat()];
    const found = await stat(real);
    const same = found.ino === opened.ino && found.dev === opened.dev && opened.isFile();
    if (!same || !(isInside(real, folder) || dirname(real) === hubBlobFolder(folder)))
      throw outside(location);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

function outside(location: string): TrivecError {
  return new TrivecError(
    'invalid_model',
    `The model's data file ${location} lies outside the model's folder, which is refused.`,
  );
}

function isInside(path: string, folder: string): boolean {
  return path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/** `models--org--name/blobs` for a folder under `models--org--name/snapshots/REVISION`, the hub cache's layout. */
function hubBlobFolder(folder: string): string | undefined {
  for (let at = folder; dirname(at) !== at; at = dirname(at)) {
    const snapshots = dirname(at);
    const repository = dirname(snapshots);
    if (basename(snapshots) === 'snapshots' && basename(repository).startsWith('models--'))
      return join(repository, 'blobs');
  }
  return undefined;
}
