/** The data file beside a rewritten graph: tensors one after the other, each written in pieces. */
import { type FileHandle, open } from 'node:fs/promises';
import { create } from '@bufbuild/protobuf';
import { TrivecError } from '../errors.ts';
import { StringStringEntryProtoSchema, TensorProto_DataLocation } from './proto/onnx_pb.js';
import type { TensorProto } from './proto.ts';

/** The runtime maps tensors into memory page by page. */
const ALIGNMENT_BYTES = 4096;

export class DataFileWriter {
  private readonly location: string;
  private readonly file: FileHandle;
  private readonly written = new Set<TensorProto>();
  private position = 0;

  /** Creates `path`, to be referred to by the graph as `location`. */
  static async create(path: string, location: string): Promise<DataFileWriter> {
    return new DataFileWriter(await open(path, 'wx'), location);
  }

  private constructor(file: FileHandle, location: string) {
    this.file = file;
    this.location = location;
  }

  /** Bytes written so far. */
  get size(): number {
    return this.position;
  }

  /** True for a tensor whose data lie in this file. */
  owns(tensor: TensorProto): boolean {
    return this.written.has(tensor);
  }

  /** Writes the tensor's data and makes the tensor point at them. Throws `storage_full` when the disk is. */
  async write(
    tensor: TensorProto,
    data: Iterable<ArrayBufferView> | AsyncIterable<ArrayBufferView>,
  ): Promise<void> {
    const offset = Math.ceil(this.position / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    let length = 0;
    for await (const piece of data) {
      await this.writeAt(new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength), offset + length);
      length += piece.byteLength;
    }
    this.position = offset + length;
    this.written.add(tensor);
    tensor.rawData = new Uint8Array();
    tensor.floatData = [];
    tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
    tensor.externalData = Object.entries({ location: this.location, offset, length }).map(([key, value]) =>
      create(StringStringEntryProtoSchema, { key, value: String(value) }),
    );
  }

  /** Everything is on the disk when this resolves. */
  async close(): Promise<void> {
    await this.file.sync();
    await this.file.close();
  }

  /** Closes without a promise about what was written. */
  async abandon(): Promise<void> {
    await this.file.close().catch(() => undefined);
  }

  private async writeAt(bytes: Uint8Array, position: number): Promise<void> {
    let written = 0;
    try {
      while (written < bytes.length) {
        const { bytesWritten } = await this.file.write(
          bytes,
          written,
          bytes.length - written,
          position + written,
        );
        written += bytesWritten;
      }
    } catch (error) {
      throw toStorageError(error);
    }
  }
}

/** A full disk as `storage_full`; anything else unchanged. */
export function toStorageError(error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ENOSPC' || code === 'EDQUOT'
    ? new TrivecError('storage_full', 'There is no space left for the rewritten model.', { cause: error })
    : error;
}
