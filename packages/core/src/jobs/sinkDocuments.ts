import type { SinkDocument, SinkText } from '../sinks/qdrant/points.ts';
import type { ResultColumns } from '../vectors/resultColumns.ts';
import type { Document } from './records.ts';

/**
 * The rows of a shard as documents for a sink, in order; vectors are views of the columns. The chunks of one
 * document stand together. Each goes with its part of the document's text.
 */
export function* sinkDocuments(
  columns: ResultColumns,
  documents: readonly Document[],
): Generator<SinkDocument> {
  const byId = new Map(documents.map((document) => [document.id, document]));
  for (let begin = 0; begin < columns.length; ) {
    const id = columns.ids[begin]!;
    let end = begin + 1;
    while (end < columns.length && columns.ids[end] === id) end++;
    const document = byId.get(id);
    const texts = Array.from({ length: end - begin }, (_, i) => sinkText(columns, begin + i));
    if (document !== undefined)
      for (const [i, text] of texts.entries())
        text.text = document.text.slice(columns.spans?.starts[begin + i], columns.spans?.ends[begin + i]);
    yield { id, texts, ...(document?.payload !== undefined && { payload: document.payload }) };
    begin = end;
  }
}

function sinkText({ dense, sparse, colbert }: ResultColumns, row: number): SinkText {
  const text: SinkText = {};
  if (dense) text.dense = dense.values.subarray(row * dense.dims, (row + 1) * dense.dims);
  if (sparse) {
    const [from, to] = [sparse.offsets[row]!, sparse.offsets[row + 1]!];
    text.sparse = { indices: sparse.indices.subarray(from, to), values: sparse.values.subarray(from, to) };
  }
  if (colbert) {
    const { dims, offsets, values } = colbert;
    const [from, to] = [offsets[row]!, offsets[row + 1]!];
    text.colbert = { rows: to - from, dims, data: values.subarray(from * dims, to * dims) };
  }
  return text;
}
