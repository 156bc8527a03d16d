import type { JsonBytes } from './jsonBytes.ts';
import type { ResultColumns } from './resultColumns.ts';

/**
 * One NDJSON line: `{id, chunk, tokens, start, end, dense: [..], sparse: {indices, values}, colbert: [[..], ..]}`, only
 * the outputs that are there. Numbers are those of the Arrow file: every float32 reads back exactly. A long text's
 * ColBERT is a hundred megabytes: the generator stops whenever `partBytes` have gathered, for them to be taken away.
 */
export function* writeResultLine(
  out: JsonBytes,
  columns: ResultColumns,
  index: number,
  partBytes: number,
): Generator<void> {
  const { spans, dense, sparse, colbert } = columns;
  out.raw('{"id":');
  out.json(columns.ids[index]);
  out.raw(',"chunk":');
  out.uint(columns.chunks[index]!);
  out.raw(',"tokens":');
  out.uint(columns.tokens[index]!);
  if (spans) {
    out.raw(',"start":');
    out.uint(spans.starts[index]!);
    out.raw(',"end":');
    out.uint(spans.ends[index]!);
  }
  if (dense) {
    out.raw(',"dense":');
    out.floats(dense.values, index * dense.dims, (index + 1) * dense.dims);
  }
  if (sparse) {
    const [from, to] = [sparse.offsets[index]!, sparse.offsets[index + 1]!];
    out.raw(',"sparse":{"indices":');
    out.uints(sparse.indices.subarray(from, to));
    out.raw(',"values":');
    out.floats(sparse.values, from, to);
    out.raw('}');
  }
  if (colbert) {
    const { dims, offsets, values } = colbert;
    out.raw(',"colbert":[');
    for (let row = offsets[index]!; row < offsets[index + 1]!; row++) {
      if (row > offsets[index]!) out.raw(',');
      out.halves(values, row * dims, (row + 1) * dims);
      if (out.length >= partBytes) yield;
    }
    out.raw(']');
  }
  out.raw('}\n');
  if (out.length >= partBytes) yield;
}
