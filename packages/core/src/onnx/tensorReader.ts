/** Reads a model's tensors piece by piece, wherever their data lie, so that no weight is held whole unless asked for. */
import type { FileHandle } from 'node:fs/promises';
import { TrivecError } from '../errors.ts';
import { elementBytes, elementsOf, externalPlaceOf, openExternalFile } from './externalData.ts';
import { DataType, type TensorProto } from './proto.ts';

export class TensorReader {
  private readonly modelFolder: string;
  private readonly files = new Map<string, FileHandle>();

  constructor(modelFolder: string) {
    this.modelFolder = modelFolder;
  }

  /** Bytes of a tensor's data as they are stored. */
  bytesOf(tensor: TensorProto): number {
    return externalPlaceOf(tensor)?.bytes ?? inlineBytes(tensor).length;
  }

  /** `length` bytes from `start` of the tensor's data, in a buffer of their own. Throws `invalid_model` when they are not there. */
  async read(tensor: TensorProto, start = 0, length = this.bytesOf(tensor) - start): Promise<Uint8Array> {
    const place = externalPlaceOf(tensor);
    if (place === undefined) {
      const bytes = inlineBytes(tensor);
      if (start + length > bytes.length) throw truncated(tensor);
      return bytes.slice(start, start + length);
    }
    if (start + length > place.bytes) throw truncated(tensor);
    const file = await this.open(place.location);
    const buffer = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      const { bytesRead } = await file.read(buffer, filled, length - filled, place.offset + start + filled);
      if (bytesRead === 0) throw truncated(tensor);
      filled += bytesRead;
    }
    return buffer;
  }

  /** `count` values of an fp32 tensor from its `first`. */
  async readFloats(
    tensor: TensorProto,
    first = 0,
    count = elementsOf(tensor) - first,
  ): Promise<Float32Array> {
    if (tensor.dataType !== DataType.FLOAT)
      throw new TrivecError('invalid_model', `Tensor ${tensor.name} is not fp32.`);
    const bytes = await this.read(tensor, first * 4, count * 4);
    return new Float32Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, count);
  }

  /** The tensor's data from first to last, in pieces of at most `chunkBytes`. */
  async *chunks(tensor: TensorProto, chunkBytes: number): AsyncGenerator<Uint8Array> {
    const total = this.bytesOf(tensor);
    for (let start = 0; start < total; start += chunkBytes)
      yield await this.read(tensor, start, Math.min(chunkBytes, total - start));
  }

  async close(): Promise<void> {
    const files = [...this.files.values()];
    this.files.clear();
    await Promise.all(files.map((file) => file.close()));
  }

  private async open(location: string): Promise<FileHandle> {
    const known = this.files.get(location);
    if (known !== undefined) return known;
    const file = await openExternalFile(this.modelFolder, location);
    this.files.set(location, file);
    return file;
  }
}

function truncated(tensor: TensorProto): TrivecError {
  return new TrivecError('invalid_model', `The data of tensor ${tensor.name} are truncated.`);
}

/** The data inside the graph file: raw, or for fp32 also as a list of numbers. */
function inlineBytes(tensor: TensorProto): Uint8Array {
  const width = elementBytes(tensor.dataType);
  if (tensor.rawData.length === 0 && tensor.dataType === DataType.FLOAT && tensor.floatData.length > 0)
    return new Uint8Array(Float32Array.from(tensor.floatData).buffer);
  if (width !== undefined && tensor.rawData.length !== width * elementsOf(tensor)) throw truncated(tensor);
  return tensor.rawData;
}
