/** Every weight matrix of a graph stored as fp16 and widened where it is used: half the disk, computed in fp32. */
import { TrivecError } from '../errors.ts';
import type { DataFileWriter } from './dataFileWriter.ts';
import type { GraphEditor } from './graphEditor.ts';
import { DataType, type GraphProto, type NodeProto, type TensorProto } from './proto.ts';
import { toHalf } from './tableRounding.ts';
import type { TensorReader } from './tensorReader.ts';
import { findVocabularyLookup } from './weightProducts.ts';

/** A matrix with a smaller side is a head with a few outputs, and cheap. */
const MIN_DIMS = 16;

/**
 * Returns how many matrices were stored; the vocabulary table is left to the caller. Matrices with values beyond
 * fp16's range stay fp32. Throws `invalid_model` when there is none to store.
 */
export async function storeWeightsAsHalf(
  graph: GraphProto,
  editor: GraphEditor,
  reader: TensorReader,
  writer: DataFileWriter,
): Promise<number> {
  const vocabulary = findVocabularyLookup(graph)?.table;
  const isMatrix = (tensor: TensorProto | undefined): tensor is TensorProto =>
    tensor !== undefined &&
    tensor !== vocabulary &&
    tensor.dataType === DataType.FLOAT &&
    tensor.dims.length === 2 &&
    tensor.dims.every((size) => size >= MIN_DIMS);
  const widen = async (tensor: TensorProto, output: string, place: (emit: () => void) => void) => {
    const half = toHalf(await reader.readFloats(tensor));
    if (half === undefined) return 0;
    const stored = editor.tensor('weight', DataType.FLOAT16, tensor.dims.map(Number));
    await writer.write(stored, [half]);
    place(() =>
      editor.op('Cast', [stored.name], 'weight', { attributes: { to: BigInt(DataType.FLOAT) }, output }),
    );
    return 1;
  };

  let count = 0;
  for (const tensor of graph.initializer.filter(isMatrix)) {
    const stored = await widen(tensor, tensor.name, (emit) => editor.replaceInitializer(tensor, emit));
    count += stored;
  }
  for (const node of graph.node) {
    const tensor = constantOf(node);
    if (isMatrix(tensor)) count += await widen(tensor, node.output[0]!, (emit) => editor.replace(node, emit));
  }
  if (count === 0)
    throw new TrivecError(
      'invalid_model',
      'The model has no fp32 weight matrix that could be stored as fp16.',
    );
  return count;
}

function constantOf(node: NodeProto): TensorProto | undefined {
  return node.opType === 'Constant' ? node.attribute.find(({ name }) => name === 'value')?.t : undefined;
}
