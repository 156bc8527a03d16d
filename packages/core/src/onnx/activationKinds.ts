/** What is known of an activation before it is rounded, from the graph alone. Pure. */
import { Constants, producersOf } from './graphValues.ts';
import type { GraphProto, NodeProto } from './proto.ts';
import { NORMALIZATIONS } from './weightProducts.ts';

/** No value of a GELU is smaller (x/2 · (1 + erf(x/√2)) has its minimum −0.16997 at −0.7518; the tanh form −0.17004). */
export const GELU_MIN = -0.1701;

const GELU_OPERATORS = new Set(['Gelu', 'FastGelu', 'BiasGelu']);

export class ActivationKinds {
  private readonly constants: Constants;
  private readonly producers: Map<string, NodeProto>;
  private readonly valueNodes: Set<NodeProto>;

  constructor(graph: GraphProto) {
    this.constants = new Constants(graph);
    this.producers = producersOf(graph);
    this.valueNodes = this.findValueNodes(graph);
  }

  /** True for a GELU's output, whether one operator or written out with Erf. */
  isGelu(value: string): boolean {
    const producer = this.producers.get(value);
    if (producer !== undefined && GELU_OPERATORS.has(producer.opType)) return true;
    const factors = this.factorsOf(value);
    const half = factors.findIndex((factor) => isClose(this.constants.scalar(factor), 0.5));
    const others = factors.filter((_, index) => index !== half);
    const [left, right] = others;
    if (half < 0 || others.length !== 2 || left === undefined || right === undefined) return false;
    return this.isOnePlusErf(left, right) || this.isOnePlusErf(right, left);
  }

  /** True for the product that makes an attention's values: what the softmax averages over all tokens. */
  isValueProjection(product: NodeProto): boolean {
    return this.valueNodes.has(product);
  }

  /** True for a layer normalisation's output, whether one operator or written out: · gain + offset. */
  isNormalized(value: string): boolean {
    const producer = this.producers.get(value);
    if (producer === undefined) return false;
    if (NORMALIZATIONS.has(producer.opType)) return producer.output[0] === value;
    if (producer.opType !== 'Add') return false;
    const product = producer.input
      .map((term) => this.producers.get(term))
      .find((node) => node?.opType === 'Mul');
    return this.hasVector(producer) && product !== undefined && this.hasVector(product);
  }

  private hasVector({ input }: NodeProto): boolean {
    return input.some((term) => this.constants.resolve(term)?.tensor.dims.length === 1);
  }

  /** What a chain of multiplications multiplies. */
  private factorsOf(value: string, depth = 0): string[] {
    const producer = this.producers.get(value);
    if (producer?.opType !== 'Mul' || depth === 3) return [value];
    return producer.input.flatMap((factor) => this.factorsOf(factor, depth + 1));
  }

  /** candidate = 1 + erf(x/√2) */
  private isOnePlusErf(candidate: string, x: string): boolean {
    const sum = this.producers.get(candidate);
    if (sum?.opType !== 'Add') return false;
    const error = sum.input.map((term) => this.producers.get(term)).find((node) => node?.opType === 'Erf');
    const one = sum.input.some((term) => isClose(this.constants.scalar(term), 1));
    const scaled = this.producers.get(error?.input[0] ?? '');
    if (!one || scaled === undefined || !scaled.input.includes(x)) return false;
    const factor = scaled.input
      .map((term) => this.constants.scalar(term))
      .find((scalar) => scalar !== undefined);
    return (
      (scaled.opType === 'Div' && scaled.input[0] === x && isClose(factor, Math.SQRT2)) ||
      (scaled.opType === 'Mul' && isClose(factor, Math.SQRT1_2))
    );
  }

  /** Nodes on the way from a weight to the right side of a product whose left side is a softmax. */
  private findValueNodes(graph: GraphProto): Set<NodeProto> {
    const found = new Set<NodeProto>();
    for (const { opType, input } of graph.node) {
      if (opType !== 'MatMul' || !this.isSoftmax(input[0] ?? '')) continue;
      for (let value = input[1]; value !== undefined; ) {
        const node: NodeProto | undefined = this.producers.get(value);
        if (node === undefined || !PASSING.has(node.opType)) break;
        found.add(node);
        value = node.input.find((term) => this.constants.resolve(term) === undefined);
      }
    }
    return found;
  }

  private isSoftmax(value: string): boolean {
    const producer = this.producers.get(value);
    if (producer?.opType === 'Softmax') return true;
    // Some exporters clear NaNs of fully masked rows in between.
    return ['Where', 'Cast', 'Identity', 'Dropout'].includes(producer?.opType ?? '')
      ? producer!.input.some((term) => this.isSoftmax(term))
      : false;
  }
}

const PASSING = new Set(['MatMul', 'Gemm', 'Add', 'Reshape', 'Transpose', 'Identity', 'Cast']);

function isClose(value: number | undefined, wanted: number): boolean {
  return value !== undefined && Math.abs(value - wanted) <= 1e-4;
}
