/** Finds the products of an encoder graph that are worth rounding: activations times a constant fp32 matrix. Pure. */
import { elementsOf } from './externalData.ts';
import { Constants, producersOf } from './graphValues.ts';
import {
  DataType,
  floatAttribute,
  type GraphProto,
  intAttribute,
  type NodeProto,
  type TensorProto,
} from './proto.ts';

/** y = activation · weight (+ bias): a MatMul, or a Gemm that is no more than that. */
export interface WeightProduct {
  node: NodeProto;
  activation: string;
  weight: TensorProto;
  /** Rows of the product's right side, which is the size of the activation's last dimension. */
  inDims: number;
  outDims: number;
  /** The tensor is stored as [outDims, inDims]. */
  transposed: boolean;
  bias: string | undefined;
  output: string;
}

/** A lookup of the token ids in the vocabulary table [rows, dims]. */
export interface VocabularyLookup {
  node: NodeProto;
  table: TensorProto;
  rows: number;
  dims: number;
}

/** Narrower than this it is a head with a few outputs (lexical weights, a classifier), not part of the encoder. */
const MIN_DIMS = 16;

/**
 * The weight products whose result still passes a layer normalisation: the encoder's. What comes after the
 * last one is a head, and a head's output must not move (a ReLU threshold, a class).
 */
export function findWeightProducts(graph: GraphProto): WeightProduct[] {
  const constants = new Constants(graph);
  const encoder = nodesBeforeNormalization(graph, constants);
  return graph.node
    .filter((node) => encoder.has(node))
    .map((node) => toProduct(node, constants))
    .filter((product) => product !== undefined);
}

function toProduct(node: NodeProto, constants: Constants): WeightProduct | undefined {
  const [activation, right, bias] = node.input;
  const output = node.output[0];
  const isGemm = node.opType === 'Gemm';
  const isStandard = node.domain === '' || node.domain === 'ai.onnx';
  if (!isStandard || !(isGemm || node.opType === 'MatMul')) return undefined;
  if (activation === undefined || right === undefined || output === undefined) return undefined;
  const plain =
    intAttribute(node, 'transA', 0) === 0 &&
    floatAttribute(node, 'alpha', 1) === 1 &&
    floatAttribute(node, 'beta', 1) === 1;
  const constant = constants.resolve(right);
  if (!plain || constant === undefined || constants.resolve(activation) !== undefined) return undefined;
  const { tensor } = constant;
  if (tensor.dataType !== DataType.FLOAT || tensor.dims.length !== 2) return undefined;
  const transposed = constant.transposed !== (intAttribute(node, 'transB', 0) === 1);
  const [first, second] = tensor.dims.map(Number) as [number, number];
  const [inDims, outDims] = transposed ? [second, first] : [first, second];
  if (inDims < MIN_DIMS || outDims < MIN_DIMS) return undefined;
  return { node, activation, weight: tensor, inDims, outDims, transposed, bias: bias || undefined, output };
}

/** The lookup of `input_ids`, if its table is fp32 and two-dimensional. */
export function findVocabularyLookup(graph: GraphProto): VocabularyLookup | undefined {
  const constants = new Constants(graph);
  const producers = producersOf(graph);
  const comesFromIds = (value: string): boolean => {
    if (value === 'input_ids') return true;
    const producer = producers.get(value);
    return producer?.opType === 'Cast' || producer?.opType === 'Identity'
      ? comesFromIds(producer.input[0] ?? '')
      : false;
  };
  for (const node of graph.node) {
    if (node.opType !== 'Gather' || intAttribute(node, 'axis', 0) !== 0) continue;
    const constant = constants.resolve(node.input[0] ?? '');
    if (constant === undefined || constant.transposed || !comesFromIds(node.input[1] ?? '')) continue;
    const { tensor } = constant;
    if (tensor.dataType !== DataType.FLOAT || tensor.dims.length !== 2 || elementsOf(tensor) === 0) continue;
    return { node, table: tensor, rows: Number(tensor.dims[0]), dims: Number(tensor.dims[1]) };
  }
  return undefined;
}

/** Operators that normalise a row; the result is their first output. */
export const NORMALIZATIONS: ReadonlySet<string> = new Set([
  'LayerNormalization',
  'SkipLayerNormalization',
  'SimplifiedLayerNormalization',
  'SkipSimplifiedLayerNormalization',
  'RMSNormalization',
]);

/** Every node some layer normalisation depends on. */
function nodesBeforeNormalization(graph: GraphProto, constants: Constants): Set<NodeProto> {
  const producers = producersOf(graph);
  const reached = new Set<NodeProto>();
  const pending = graph.node.filter((node) => isNormalization(node, constants));
  for (let node = pending.pop(); node !== undefined; node = pending.pop())
    for (const input of node.input) {
      const producer = producers.get(input);
      if (producer === undefined || reached.has(producer)) continue;
      reached.add(producer);
      pending.push(producer);
    }
  return reached;
}

/** The operator itself, or the mean over the last of [batch, tokens, hidden] that opens a written-out one. */
function isNormalization(node: NodeProto, constants: Constants): boolean {
  if (NORMALIZATIONS.has(node.opType)) return true;
  if (node.opType !== 'ReduceMean') return false;
  const axes = node.attribute.find(({ name }) => name === 'axes')?.ints ?? axesInput(node, constants);
  return axes?.length === 1 && (axes[0] === -1n || axes[0] === 2n);
}

function axesInput(node: NodeProto, constants: Constants): bigint[] | undefined {
  const tensor = constants.resolve(node.input[1] ?? '')?.tensor;
  if (tensor === undefined || tensor.dataType !== DataType.INT64) return undefined;
  if (tensor.int64Data.length > 0) return tensor.int64Data;
  const { buffer, byteOffset, byteLength } = tensor.rawData.slice();
  return byteLength === 8 ? [new DataView(buffer, byteOffset, byteLength).getBigInt64(0, true)] : undefined;
}
