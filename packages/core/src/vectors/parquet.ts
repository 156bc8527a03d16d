import type { SchemaElement } from 'hyparquet';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { TrivecError } from '../errors.ts';
import { isTurnOver, nextTurn } from '../turns.ts';
import { ParquetFooter } from './parquetFooter.ts';
import type { ResultColumns } from './resultColumns.ts';

export const PARQUET_TYPE = 'application/vnd.apache.parquet';

/** `PAR1`, little-endian. */
const MAGIC_NUMBER = 0x31524150;
/**
 * Numbers of one row group: its encoder holds them as JavaScript numbers, with their levels, and keeps the thread for
 * some five milliseconds. With fewer, what the file says of each group would be too much for who reads it.
 */
const NUMBERS_A_GROUP = 1 << 15;
/** Bytes of ColBERT that take as long as one number: they are only copied. */
const BYTES_A_NUMBER = 128;

/**
 * One Parquet file of many shards, given out row group by row group. Columns are those of the Arrow stream: `id` string,
 * `chunk` and `tokens` int32, with chunking `start` and `end`, `dense` list of float, `sparse` struct of
 * `indices` (uint32) and `values` (float) lists. `colbert` is bytes: float16, little-endian, row after row of
 * `colbert_dims` numbers (in the file's metadata), because a list of lists of a million numbers takes a reader
 * fifty times the room. `empty` gives the schema. Not compressed: vectors do not get smaller.
 */
export async function* parquetFile(
  shards: AsyncIterable<ResultColumns>,
  empty: ResultColumns,
  metadata: Record<string, string> = {},
): AsyncGenerator<Uint8Array> {
  const out = new ByteWriter(4 * NUMBERS_A_GROUP);
  const schema = schemaOf(empty);
  const file = new ParquetWriter({ writer: out, schema, codec: 'UNCOMPRESSED', statistics: false });
  const footer = new ParquetFooter();
  for await (const columns of shards)
    for (let begin = 0; begin < columns.length; ) {
      const end = groupEnd(columns, begin);
      file.write({ columnData: columnData(columns, empty, begin, end), rowGroupSize: end - begin });
      for (const group of file.row_groups.splice(0)) footer.add(group);
      file.pendingIndexes = [];
      yield take(out);
      // Others wait for this thread, too: a fast reader must not keep it.
      if (isTurnOver()) await nextTurn();
      begin = end;
    }
  out.appendBytes(
    footer.bytes({
      version: 2,
      schema,
      num_rows: file.num_rows,
      key_value_metadata: Object.entries({
        ...metadata,
        ...(empty.colbert && { colbert_dims: String(empty.colbert.dims) }),
      }).map(([key, value]) => ({ key, value })),
      created_by: 'trivec',
    }),
  );
  out.appendUint32(MAGIC_NUMBER);
  yield take(out);
}

/** The bytes written since the last call; the file's offsets go on. */
function take(out: ByteWriter): Uint8Array {
  const bytes = Buffer.from(out.getBytes());
  out.index = 0;
  return bytes;
}

function groupEnd({ length, dense, sparse, colbert }: ResultColumns, begin: number): number {
  const lengthAt = (offsets: Int32Array, row: number) => offsets[row + 1]! - offsets[row]!;
  let numbers = 0;
  for (let row = begin; row < length; row++) {
    numbers += dense?.dims ?? 0;
    if (sparse) numbers += 2 * lengthAt(sparse.offsets, row);
    if (colbert) {
      const bytes = lengthAt(colbert.offsets, row) * colbert.dims * colbert.values.BYTES_PER_ELEMENT;
      numbers += bytes / BYTES_A_NUMBER;
    }
    if (numbers > NUMBERS_A_GROUP && row > begin) return row;
  }
  return length;
}

function columnData(columns: ResultColumns, empty: ResultColumns, begin: number, end: number) {
  const rows = <T>(at: (row: number) => T) => Array.from({ length: end - begin }, (_, i) => at(begin + i));
  const plain = (name: string, data: unknown[]) => {
    return { name, data, encoding: 'PLAIN' as const, offsetIndex: false };
  };
  const { spans, dense, sparse, colbert } = columns;
  const list = [
    plain(
      'id',
      rows((row) => columns.ids[row]!),
    ),
    plain(
      'chunk',
      rows((row) => columns.chunks[row]!),
    ),
    plain(
      'tokens',
      rows((row) => columns.tokens[row]!),
    ),
  ];
  if (empty.spans) {
    list.push(
      plain(
        'start',
        rows((row) => required(spans).starts[row]!),
      ),
    );
    list.push(
      plain(
        'end',
        rows((row) => required(spans).ends[row]!),
      ),
    );
  }
  if (empty.dense) {
    const { dims, values } = required(dense);
    list.push(
      plain(
        'dense',
        rows((row) => Array.from(values.subarray(row * dims, (row + 1) * dims))),
      ),
    );
  }
  if (empty.sparse) {
    const { offsets, indices, values } = required(sparse);
    const part = (all: Uint32Array | Float32Array, row: number) =>
      Array.from<number>(all.subarray(offsets[row], offsets[row + 1]));
    list.push(
      plain(
        'sparse',
        rows((row) => ({ indices: part(indices, row), values: part(values, row) })),
      ),
    );
  }
  if (empty.colbert) {
    const { dims, offsets, values } = required(colbert);
    list.push(
      plain(
        'colbert',
        rows((row) => {
          const part = values.subarray(offsets[row]! * dims, offsets[row + 1]! * dims);
          return new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
        }),
      ),
    );
  }
  return list;
}

function required<T>(value: T | undefined): T {
  if (value !== undefined) return value;
  throw new TrivecError('internal', 'A result file is damaged: its columns are not those of its job.');
}

function schemaOf({ spans, dense, sparse, colbert }: ResultColumns): SchemaElement[] {
  const leaf = (
    name: string,
    type: SchemaElement['type'],
    more: Partial<SchemaElement> = {},
  ): SchemaElement => ({
    name,
    type: type!,
    repetition_type: 'REQUIRED',
    ...more,
  });
  const list = (
    name: string,
    type: SchemaElement['type'],
    more: Partial<SchemaElement> = {},
  ): SchemaElement[] => [
    { name, repetition_type: 'REQUIRED', converted_type: 'LIST', num_children: 1 },
    { name: 'list', repetition_type: 'REPEATED', num_children: 1 },
    leaf('element', type, more),
  ];
  const columns: SchemaElement[][] = [
    [leaf('id', 'BYTE_ARRAY', { converted_type: 'UTF8' })],
    [leaf('chunk', 'INT32')],
    [leaf('tokens', 'INT32')],
  ];
  if (spans) columns.push([leaf('start', 'INT32')], [leaf('end', 'INT32')]);
  if (dense) columns.push(list('dense', 'FLOAT'));
  if (sparse)
    columns.push([
      { name: 'sparse', repetition_type: 'REQUIRED', num_children: 2 },
      ...list('indices', 'INT32', { converted_type: 'UINT_32' }),
      ...list('values', 'FLOAT'),
    ]);
  if (colbert) columns.push([leaf('colbert', 'BYTE_ARRAY')]);
  return [{ name: 'schema', num_children: columns.length }, ...columns.flat()];
}
