import {
  type Data,
  Field,
  FixedSizeList,
  Float16,
  Float32,
  Int32,
  List,
  makeData,
  RecordBatch,
  RecordBatchFileWriter,
  RecordBatchReader,
  RecordBatchStreamWriter,
  Schema,
  Struct,
  Uint32,
  Utf8,
} from 'apache-arrow';
import { TrivecError } from '../errors.ts';
import type { ResultColumns, VectorDims } from './resultColumns.ts';
import type { Output } from './types.ts';

export const ARROW_STREAM_TYPE = 'application/vnd.apache.arrow.stream';

const SMALL_CHUNK_BYTES = 65_536;

/**
 * `id` utf8, `chunk` int32, `tokens` int32, with chunking `start` and `end` int32, `dense` FixedSizeList<float32>, `sparse` struct of
 * List<uint32> and List<float32>, `colbert` List<FixedSizeList<float16>>: only the outputs asked for,
 * none of it nullable. The data are the arrays of `columns` themselves: nothing is copied value by value.
 */
function recordBatchOf(columns: ResultColumns, metadata: Map<string, string>): RecordBatch {
  const { length, spans, dense, sparse, colbert } = columns;
  const fields: Field[] = [];
  const children: Data[] = [];
  const add = (name: string, data: Data) => {
    fields.push(new Field(name, data.type, false));
    children.push(data);
  };
  add('id', utf8Data(columns.ids));
  add('chunk', makeData({ type: new Int32(), length, data: columns.chunks, nullCount: 0 }));
  add('tokens', makeData({ type: new Int32(), length, data: columns.tokens, nullCount: 0 }));
  if (spans) {
    add('start', makeData({ type: new Int32(), length, data: spans.starts, nullCount: 0 }));
    add('end', makeData({ type: new Int32(), length, data: spans.ends, nullCount: 0 }));
  }
  if (dense) add('dense', fixedSizeListData(dense.dims, length, new Float32(), dense.values));
  if (sparse) add('sparse', sparseData(length, sparse));
  if (colbert) {
    const { dims, offsets, values } = colbert;
    const bits = new Uint16Array(values.buffer, values.byteOffset, values.length);
    const vectors = fixedSizeListData(dims, offsets[length]! - offsets[0]!, new Float16(), bits);
    add('colbert', listData(length, offsets, vectors));
  }
  const data = makeData({ type: new Struct(fields), length, nullCount: 0, children });
  return new RecordBatch(new Schema(fields, metadata), data);
}

const item = (data: Data) => new Field('item', data.type, false);

function utf8Data(ids: readonly string[]): Data<Utf8> {
  const valueOffsets = new Int32Array(ids.length + 1);
  ids.forEach((id, i) => {
    valueOffsets[i + 1] = valueOffsets[i]! + Buffer.byteLength(id);
  });
  const data = Buffer.from(ids.join(''));
  return makeData({ type: new Utf8(), length: ids.length, nullCount: 0, valueOffsets, data });
}

function fixedSizeListData(
  dims: number,
  length: number,
  type: Float32 | Float16,
  data: Float32Array | Uint16Array,
): Data {
  const child: Data = makeData({ type, length: length * dims, nullCount: 0, data });
  return makeData({ type: new FixedSizeList(dims, item(child)), length, nullCount: 0, child });
}

function listData(length: number, valueOffsets: Int32Array, child: Data): Data {
  return makeData({ type: new List(item(child)), length, nullCount: 0, valueOffsets, child });
}

function sparseData(length: number, sparse: NonNullable<ResultColumns['sparse']>): Data {
  const { offsets, indices, values } = sparse;
  const size = indices.length;
  const children = [
    listData(length, offsets, makeData({ type: new Uint32(), length: size, nullCount: 0, data: indices })),
    listData(length, offsets, makeData({ type: new Float32(), length: size, nullCount: 0, data: values })),
  ];
  const fields = [
    new Field('indices', children[0]!.type, false),
    new Field('values', children[1]!.type, false),
  ];
  return makeData({ type: new Struct(fields), length, nullCount: 0, children });
}

/**
 * What a writer writes, in order. The library's own queue merges neighbouring chunks of one ArrayBuffer even
 * where they overlap, and so loses bytes when a column is written twice or is a view of another file.
 */
class ChunkList {
  private chunks: Uint8Array[] = [];

  /** Returns the bytes added. */
  add(chunk: ArrayBufferView): number {
    const bytes = new Uint8Array(chunk.buffer as ArrayBuffer, chunk.byteOffset, chunk.byteLength);
    if (bytes.length > 0) this.chunks.push(bytes);
    return bytes.length;
  }

  /** What was added since the last call. */
  take(): Uint8Array[] {
    const taken = this.chunks;
    this.chunks = [];
    return taken;
  }
}

class FileWriter extends RecordBatchFileWriter {
  readonly written = new ChunkList();

  protected override _write(chunk: ArrayBufferView): this {
    this._position += this.written.add(chunk);
    return this;
  }
}

class StreamWriter extends RecordBatchStreamWriter {
  readonly written = new ChunkList();

  protected override _write(chunk: ArrayBufferView): this {
    this._position += this.written.add(chunk);
    return this;
  }
}

/** An Arrow IPC file (random access), as shards are stored. */
export function arrowFile(columns: ResultColumns, metadata: Record<string, string> = {}): Uint8Array {
  const writer = new FileWriter();
  writer.write(recordBatchOf(columns, new Map(Object.entries(metadata))));
  writer.finish();
  return Buffer.concat(writer.written.take());
}

/** Large chunks as they are, small ones joined: a socket is not fed by the dozen bytes. */
function* joinSmall(chunks: readonly Uint8Array[]): Generator<Uint8Array> {
  let small: Uint8Array[] = [];
  for (const bytes of chunks) {
    if (bytes.length < SMALL_CHUNK_BYTES) {
      small.push(bytes);
      continue;
    }
    if (small.length > 0) yield Buffer.concat(small);
    small = [];
    yield bytes;
  }
  if (small.length > 0) yield Buffer.concat(small);
}

/**
 * One Arrow IPC stream of many shards: one schema, a record batch for each. `empty` gives the schema,
 * which every shard must have: the library ends the stream without a word where one differs.
 */
export async function* arrowStream(
  shards: AsyncIterable<ResultColumns>,
  empty: ResultColumns,
  metadata: Record<string, string> = {},
): AsyncGenerator<Uint8Array> {
  const writer = new StreamWriter({ autoDestroy: false });
  const schemaMetadata = new Map(Object.entries(metadata));
  const first = recordBatchOf(empty, schemaMetadata);
  writer.reset(undefined, first.schema);
  const expected = String(first.schema);
  for await (const columns of shards) {
    const batch = recordBatchOf(columns, schemaMetadata);
    if (String(batch.schema) !== expected) throw damaged('its columns are not those of its job');
    writer.write(batch);
    yield* joinSmall(writer.written.take());
  }
  writer.reset();
  yield* joinSmall(writer.written.take());
}

/** Columns of no rows: what an empty result looks like. */
export function emptyColumns(
  outputs: readonly Output[],
  dims: VectorDims,
  { spans = false } = {},
): ResultColumns {
  const columns: ResultColumns = {
    length: 0,
    ids: [],
    chunks: new Int32Array(0),
    tokens: new Int32Array(0),
  };
  if (spans) columns.spans = { starts: new Int32Array(0), ends: new Int32Array(0) };
  if (outputs.includes('dense')) columns.dense = { dims: dims.dense ?? 1, values: new Float32Array(0) };
  if (outputs.includes('sparse'))
    columns.sparse = {
      offsets: new Int32Array(1),
      indices: new Uint32Array(0),
      values: new Float32Array(0),
    };
  if (outputs.includes('colbert'))
    columns.colbert = { dims: dims.colbert ?? 1, offsets: new Int32Array(1), values: new Float16Array(0) };
  return columns;
}

/** Reads what `arrowFile` wrote, without copying where memory is aligned. `internal` for anything else. */
export function readArrow(bytes: Uint8Array): ResultColumns {
  // Typed arrays are laid over the buffers, which the format aligns to 8 bytes from its start.
  const aligned = bytes.byteOffset % 8 === 0 ? bytes : Uint8Array.from(bytes);
  const [batch, ...others] = RecordBatchReader.from(aligned);
  if (batch === undefined || others.length > 0) throw damaged('it has not exactly one record batch');
  return columnsOf(batch);
}

/** The shards of what `arrowStream` wrote, one after the other. `internal` for anything else. */
export async function* readArrowStream(body: AsyncIterable<Uint8Array>): AsyncGenerator<ResultColumns> {
  const reader = await RecordBatchReader.from(body);
  for await (const batch of reader) yield columnsOf(batch);
}

function columnsOf(batch: RecordBatch): ResultColumns {
  const data = new Map(
    batch.schema.fields.map((field, i) => [field.name, batch.data.children[i] as Data] as const),
  );
  const column = (name: string): Data => {
    const found = data.get(name);
    if (found === undefined) throw damaged(`column ${name} is missing`);
    return found;
  };
  const length = batch.numRows;
  const columns: ResultColumns = {
    length,
    ids: readUtf8(column('id'), length),
    chunks: values(column('chunk'), Int32Array),
    tokens: values(column('tokens'), Int32Array),
  };
  if (data.has('start'))
    columns.spans = { starts: values(column('start'), Int32Array), ends: values(column('end'), Int32Array) };
  if (data.has('dense')) columns.dense = readFixedSize(column('dense'), Float32Array);
  if (data.has('sparse')) {
    const [indices, weights] = column('sparse').children as [Data, Data];
    columns.sparse = {
      offsets: offsetsOf(indices),
      indices: values(indices.children[0]!, Uint32Array),
      values: values(weights.children[0]!, Float32Array),
    };
  }
  if (data.has('colbert')) {
    const list = column('colbert');
    const { dims, values: bits } = readFixedSize(list.children[0]!, Uint16Array);
    const halves = new Float16Array(bits.buffer as ArrayBuffer, bits.byteOffset, bits.length);
    columns.colbert = { dims, offsets: offsetsOf(list), values: halves };
  }
  return columns;
}

function readUtf8(data: Data, length: number): string[] {
  const offsets = offsetsOf(data);
  const bytes = data.values as Uint8Array;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length }, (_, i) => text.toString('utf8', offsets[i], offsets[i + 1]));
}

/** Buffers come padded to 8 bytes; what belongs to the column ends before. */
function offsetsOf(data: Data): Int32Array {
  return (data.valueOffsets as Int32Array).subarray(0, data.length + 1);
}

type NumberArray = Int32Array | Uint32Array | Float32Array | Uint16Array;

function readFixedSize<T extends NumberArray>(
  data: Data,
  kind: new (n: number) => T,
): { dims: number; values: T } {
  return { dims: (data.type as FixedSizeList).listSize, values: values(data.children[0]!, kind) };
}

function values<T extends NumberArray>(data: Data, kind: new (n: number) => T): T {
  if (data.values instanceof kind) return data.values.subarray(0, data.length) as T;
  throw damaged(`a column is not ${kind.name}`);
}

function damaged(reason: string): TrivecError {
  return new TrivecError('internal', `A result file is damaged: ${reason}.`);
}
