/** torch's zip files of tensors (`torch.save` of a state dict), read without running anything. */
import { unzipSync } from 'fflate';
import { TrivecError } from '../errors.ts';
import { readPickle, refuse, type TensorRef } from './pickle.ts';

/** Values row-major, widened to fp32. */
export interface TorchTensor {
  shape: number[];
  values: Float32Array;
}

/** Bytes of a value, by torch's storage type. */
const STORAGES: Readonly<Record<string, number>> = { 'torch.HalfStorage': 2, 'torch.FloatStorage': 4 };

/** Heads are a few MB; nothing this reader is for comes near. */
const MAX_ARCHIVE_BYTES = 256 * 1024 ** 2;

/**
 * Reads a checkpoint that is one flat state dict of fp16 or fp32 tensors. `bytes` is the whole file.
 * Throws `invalid_model` for anything else: another format, compressed entries, unlisted opcodes or
 * globals, tensors beyond their storage, storages that are not the size they claim.
 */
export function readTorchCheckpoint(bytes: Uint8Array): Map<string, TorchTensor> {
  const entries = readStoredEntries(bytes);
  const pickleName = [...entries.keys()].find((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (pickleName === undefined) return refuse('it has no data.pkl, so it is not a torch checkpoint');
  const root = pickleName.slice(0, -'data.pkl'.length);
  const byteOrder = entries.get(`${root}byteorder`);
  if (byteOrder !== undefined && new TextDecoder().decode(byteOrder) !== 'little')
    refuse('it is not little-endian');

  const state = readPickle(entries.get(pickleName)!);
  if (!(state instanceof Map)) return refuse('it holds no state dict');
  const tensors = new Map<string, TorchTensor>();
  for (const [name, value] of state) {
    if (
      typeof name !== 'string' ||
      typeof value !== 'object' ||
      !('kind' in value) ||
      value.kind !== 'tensor'
    )
      return refuse('its state dict holds something other than named tensors');
    tensors.set(name, readTensor(name, value, entries.get(`${root}data/${value.storage.key}`)));
  }
  return tensors;
}

/** The entries of a zip archive whose entries are stored, as torch writes them, by name. */
function readStoredEntries(bytes: Uint8Array): Map<string, Uint8Array> {
  if (bytes.length > MAX_ARCHIVE_BYTES)
    refuse(`it is larger than ${MAX_ARCHIVE_BYTES} bytes, which no head is`);
  const sizes = new Map<string, number>();
  let total = 0;
  let files: Record<string, Uint8Array>;
  try {
    files = unzipSync(bytes, {
      filter: ({ name, size, originalSize, compression }) => {
        if (compression !== 0) refuse(`its entry ${name} is compressed`);
        total += originalSize;
        if (size !== originalSize || total > bytes.length)
          refuse(`its entry ${name} is larger than the file`);
        if (sizes.has(name)) refuse(`its entry ${name} is there twice`);
        sizes.set(name, originalSize);
        return true;
      },
    });
  } catch (error) {
    if (error instanceof TrivecError) throw error;
    return refuse('it is not a whole zip archive');
  }
  for (const [name, size] of sizes)
    if (files[name]?.length !== size) refuse(`its entry ${name} reaches beyond the file`);
  return new Map(Object.entries(files));
}

function readTensor(name: string, tensor: TensorRef, storage: Uint8Array | undefined): TorchTensor {
  const { shape, strides, offset } = tensor;
  const { storageType, elements } = tensor.storage;
  const bytesPerValue = STORAGES[storageType];
  if (bytesPerValue === undefined) return refuse(`tensor ${name} is of type ${storageType}`);
  if (storage === undefined || storage.length !== elements * bytesPerValue)
    return refuse(`the storage of tensor ${name} is missing or not of the size it claims`);
  const count = shape.reduce((product, size) => product * size, 1);
  const contiguous = shape.map((_, axis) =>
    shape.slice(axis + 1).reduce((product, size) => product * size, 1),
  );
  if (strides.length !== shape.length || strides.some((stride, axis) => stride !== contiguous[axis]))
    refuse(`tensor ${name} is not stored row by row`);
  if (offset + count > elements) refuse(`tensor ${name} reaches beyond its storage`);
  const raw = storage.slice(offset * bytesPerValue, (offset + count) * bytesPerValue).buffer;
  const values = bytesPerValue === 2 ? Float32Array.from(new Float16Array(raw)) : new Float32Array(raw);
  return { shape: [...shape], values };
}
