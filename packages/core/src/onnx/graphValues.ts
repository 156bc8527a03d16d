/** Where the values of a graph come from: constants, and the nodes that make the rest. Pure. */
import { DataType, type GraphProto, type NodeProto, type TensorProto } from './proto.ts';

/** Constant tensors by value name, however the exporter wrote them. */
export class Constants {
  private readonly tensors = new Map<string, TensorProto>();
  private readonly producers = new Map<string, NodeProto>();

  constructor(graph: GraphProto) {
    for (const tensor of graph.initializer) this.tensors.set(tensor.name, tensor);
    for (const node of graph.node) {
      for (const output of node.output) this.producers.set(output, node);
      const value =
        node.opType === 'Constant' ? node.attribute.find(({ name }) => name === 'value')?.t : undefined;
      if (value !== undefined && node.output[0] !== undefined) this.tensors.set(node.output[0], value);
    }
  }

  /** The tensor behind a value, through copies and transpositions of it. */
  resolve(value: string): { tensor: TensorProto; transposed: boolean } | undefined {
    const tensor = this.tensors.get(value);
    if (tensor !== undefined) return { tensor, transposed: false };
    const producer = this.producers.get(value);
    if (producer === undefined || !(producer.opType === 'Identity' || producer.opType === 'Transpose'))
      return undefined;
    const source = this.resolve(producer.input[0] ?? '');
    if (source === undefined || producer.opType === 'Identity') return source;
    const permutation = producer.attribute.find(({ name }) => name === 'perm')?.ints.map(Number) ?? [1, 0];
    const swaps = source.tensor.dims.length === 2 && permutation[0] === 1 && permutation[1] === 0;
    return swaps ? { tensor: source.tensor, transposed: !source.transposed } : undefined;
  }

  /** The value of an fp32 constant with one element. */
  scalar(value: string): number | undefined {
    const tensor = this.resolve(value)?.tensor;
    if (tensor?.dataType !== DataType.FLOAT || tensor.dims.some((size) => size !== 1n)) return undefined;
    if (tensor.floatData.length === 1) return tensor.floatData[0];
    const { buffer, byteOffset, byteLength } = tensor.rawData;
    return byteLength === 4 ? new DataView(buffer, byteOffset).getFloat32(0, true) : undefined;
  }
}

/** The node that makes each value. */
export function producersOf(graph: GraphProto): Map<string, NodeProto> {
  return new Map(graph.node.flatMap((node) => node.output.map((output) => [output, node] as const)));
}
