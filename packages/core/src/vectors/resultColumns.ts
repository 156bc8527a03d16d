import { isTurnOver, nextTurn } from '../turns.ts';
import type { Output, TextVectors } from './types.ts';

/**
 * The results of a shard, column by column, as they lie in an Arrow file. Row `i` of
 * - dense is `values[i * dims .. (i + 1) * dims]`, float32;
 * - sparse is `indices` and `values` from `offsets[i]` to `offsets[i + 1]`;
 * - colbert is the vectors `offsets[i] .. offsets[i + 1]` of `dims` float16 each.
 */
export interface ResultColumns {
  length: number;
  ids: readonly string[];
  chunks: Int32Array;
  tokens: Int32Array;
  /** Of a job with chunking: where each chunk lies in its document's text, in UTF-16 units. */
  spans?: { starts: Int32Array; ends: Int32Array };
  dense?: { dims: number; values: Float32Array };
  sparse?: { offsets: Int32Array; indices: Uint32Array; values: Float32Array };
  colbert?: { dims: number; offsets: Int32Array; values: Float16Array };
}

export interface ResultRow {
  id: string;
  chunk: number;
  /** UTF-16 units of the document's text: needed where the columns are to have spans. */
  start?: number;
  end?: number;
  vectors: TextVectors;
}

/** Sizes of the vectors; one that no row needs may be absent. */
export interface VectorDims {
  dense?: number;
  colbert?: number;
}

/**
 * Copies rows into columns. Every row must carry every one of `outputs`, of one size. ColBERT becomes float16,
 * which takes a tenth of a second for a shard of a large model: the event loop gets its turns meanwhile.
 */
export async function columnsOf(
  rows: readonly ResultRow[],
  outputs: readonly Output[],
  dims: VectorDims = {},
  { spans = false } = {},
): Promise<ResultColumns> {
  const columns: ResultColumns = {
    length: rows.length,
    ids: rows.map((row) => row.id),
    chunks: Int32Array.from(rows, (row) => row.chunk),
    tokens: Int32Array.from(rows, (row) => row.vectors.tokens),
  };
  if (spans)
    columns.spans = {
      starts: Int32Array.from(rows, (row) => row.start ?? 0),
      ends: Int32Array.from(rows, (row) => row.end ?? 0),
    };
  if (outputs.includes('dense')) columns.dense = denseColumn(rows, dims.dense);
  if (outputs.includes('sparse')) columns.sparse = sparseColumn(rows);
  if (outputs.includes('colbert')) columns.colbert = await colbertColumn(rows, dims.colbert);
  return columns;
}

function denseColumn(rows: readonly ResultRow[], known: number | undefined) {
  const dims = known ?? rows[0]?.vectors.dense?.length ?? 1;
  const values = new Float32Array(rows.length * dims);
  rows.forEach((row, i) => {
    values.set(required(row.vectors.dense, 'dense', dims, row.vectors.dense?.length), i * dims);
  });
  return { dims, values };
}

function sparseColumn(rows: readonly ResultRow[]) {
  const offsets = new Int32Array(rows.length + 1);
  rows.forEach((row, i) => {
    offsets[i + 1] = offsets[i]! + required(row.vectors.sparse, 'sparse').indices.length;
  });
  const indices = new Uint32Array(offsets[rows.length]!);
  const values = new Float32Array(offsets[rows.length]!);
  rows.forEach((row, i) => {
    indices.set(row.vectors.sparse!.indices, offsets[i]!);
    values.set(row.vectors.sparse!.values, offsets[i]!);
  });
  return { offsets, indices, values };
}

async function colbertColumn(rows: readonly ResultRow[], known: number | undefined) {
  const dims = known ?? rows[0]?.vectors.colbert?.dims ?? 1;
  const offsets = new Int32Array(rows.length + 1);
  rows.forEach((row, i) => {
    const matrix = required(row.vectors.colbert, 'colbert', dims, row.vectors.colbert?.dims);
    offsets[i + 1] = offsets[i]! + matrix.rows;
  });
  const values = new Float16Array(offsets[rows.length]! * dims);
  for (const [i, row] of rows.entries()) {
    const { data, rows: count } = row.vectors.colbert!;
    values.set(data.subarray(0, count * dims), offsets[i]! * dims);
    if (isTurnOver()) await nextTurn();
  }
  return { dims, offsets, values };
}

function required<T>(value: T | undefined, output: Output, dims?: number, got?: number): T {
  if (value === undefined) throw new TypeError(`a row lacks its ${output} vector`);
  if (dims !== got) throw new TypeError(`a ${output} vector has ${got} dimensions, expected ${dims}`);
  return value;
}

/** Rows `begin` to `end` (exclusive). Vectors are views of the same memory. */
export function sliceColumns(columns: ResultColumns, begin: number, end: number): ResultColumns {
  if (begin === 0 && end === columns.length) return columns;
  const part: ResultColumns = {
    length: end - begin,
    ids: columns.ids.slice(begin, end),
    chunks: columns.chunks.subarray(begin, end),
    tokens: columns.tokens.subarray(begin, end),
  };
  const { spans, dense, sparse, colbert } = columns;
  if (spans)
    part.spans = { starts: spans.starts.subarray(begin, end), ends: spans.ends.subarray(begin, end) };
  if (dense)
    part.dense = { dims: dense.dims, values: dense.values.subarray(begin * dense.dims, end * dense.dims) };
  if (sparse) {
    const { from, to, offsets } = rebase(sparse.offsets, begin, end);
    part.sparse = {
      offsets,
      indices: sparse.indices.subarray(from, to),
      values: sparse.values.subarray(from, to),
    };
  }
  if (colbert) {
    const { from, to, offsets } = rebase(colbert.offsets, begin, end);
    part.colbert = {
      dims: colbert.dims,
      offsets,
      values: colbert.values.subarray(from * colbert.dims, to * colbert.dims),
    };
  }
  return part;
}

function rebase(offsets: Int32Array, begin: number, end: number) {
  const from = offsets[begin]!;
  return { from, to: offsets[end]!, offsets: offsets.slice(begin, end + 1).map((offset) => offset - from) };
}

/** Row `index` as vectors. Dense and sparse are views; ColBERT is widened to float32. */
export function vectorsAt(columns: ResultColumns, index: number): TextVectors {
  const vectors: TextVectors = { tokens: columns.tokens[index]! };
  const { dense, sparse, colbert } = columns;
  if (dense) vectors.dense = dense.values.subarray(index * dense.dims, (index + 1) * dense.dims);
  if (sparse) {
    const [from, to] = [sparse.offsets[index]!, sparse.offsets[index + 1]!];
    vectors.sparse = { indices: sparse.indices.subarray(from, to), values: sparse.values.subarray(from, to) };
  }
  if (colbert) {
    const [from, to] = [colbert.offsets[index]!, colbert.offsets[index + 1]!];
    const data = new Float32Array(colbert.values.subarray(from * colbert.dims, to * colbert.dims));
    vectors.colbert = { rows: to - from, dims: colbert.dims, data };
  }
  return vectors;
}
