/** The vocabulary table in fewer bytes: looked up as it is stored, then widened, so that memory shrinks as well. */
import type { DataFileWriter } from './dataFileWriter.ts';
import type { GraphEditor } from './graphEditor.ts';
import { DataType } from './proto.ts';
import type { TensorReader } from './tensorReader.ts';
import type { VocabularyLookup } from './weightProducts.ts';
import { quantizeRows } from './weightRounding.ts';

const CHUNK_VALUES = 8 * 1024 ** 2;
const TO_FLOAT = { to: BigInt(DataType.FLOAT) };
/** Largest finite fp16. */
const HALF_MAX = 65504;

/** Values as fp16, or undefined when one of them is out of its range. */
export function toHalf(values: Float32Array): Float16Array | undefined {
  for (const value of values) if (!(Math.abs(value) <= HALF_MAX)) return undefined;
  return new Float16Array(values);
}

/** The table as fp16. A value beyond fp16's range is held at its end: no trained embedding comes near. */
export async function storeTableAsHalf(
  editor: GraphEditor,
  reader: TensorReader,
  writer: DataFileWriter,
  { node, table, rows, dims }: VocabularyLookup,
): Promise<void> {
  const stored = editor.tensor('vocabulary', DataType.FLOAT16, [rows, dims]);
  await writer.write(stored, mapChunks(tableChunks(reader, table, rows, dims), clampToHalf));
  editor.replace(node, () => {
    const found = editor.op('Gather', [stored.name, node.input[1]!], 'embeddings');
    editor.op('Cast', [found], 'embeddings', { attributes: TO_FLOAT, output: node.output[0]! });
  });
}

function clampToHalf(values: Float32Array): Float16Array {
  return (
    toHalf(values) ?? new Float16Array(values.map((value) => Math.max(-HALF_MAX, Math.min(HALF_MAX, value))))
  );
}

/** The table as int8 with one fp32 scale a row. */
export async function storeTableAsInt8(
  editor: GraphEditor,
  reader: TensorReader,
  writer: DataFileWriter,
  { node, table, rows, dims }: VocabularyLookup,
): Promise<void> {
  const stored = editor.tensor('vocabulary', DataType.INT8, [rows, dims]);
  const storedScales = editor.tensor('vocabulary_scales', DataType.FLOAT, [rows, 1]);
  const scales = new Float32Array(rows);
  let row = 0;
  await writer.write(
    stored,
    mapChunks(tableChunks(reader, table, rows, dims), (chunk) => {
      const rounded = quantizeRows(chunk, chunk.length / dims, dims);
      scales.set(rounded.scales, row);
      row += rounded.scales.length;
      return rounded.values;
    }),
  );
  await writer.write(storedScales, [scales]);
  editor.replace(node, () => {
    const ids = node.input[1]!;
    const found = editor.op('Gather', [stored.name, ids], 'embeddings');
    const wide = editor.op('Cast', [found], 'embeddings', { attributes: TO_FLOAT });
    const scale = editor.op('Gather', [storedScales.name, ids], 'embedding_scales');
    editor.op('Mul', [wide, scale], 'embeddings', { output: node.output[0]! });
  });
}

async function* tableChunks(
  reader: TensorReader,
  table: VocabularyLookup['table'],
  rows: number,
  dims: number,
): AsyncGenerator<Float32Array> {
  const step = Math.max(1, Math.floor(CHUNK_VALUES / dims));
  for (let row = 0; row < rows; row += step)
    yield await reader.readFloats(table, row * dims, Math.min(step, rows - row) * dims);
}

async function* mapChunks<T extends ArrayBufferView>(
  chunks: AsyncIterable<Float32Array>,
  map: (chunk: Float32Array) => T,
): AsyncGenerator<T> {
  for await (const chunk of chunks) yield map(chunk);
}
