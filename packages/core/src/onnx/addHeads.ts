/**
 * Gives a backbone graph the three heads of BGE-M3, so that one session computes them all.
 * Formulas: FlagEmbedding, finetune/embedder/encoder_only/m3/modeling.py.
 */
import { TrivecError } from '../errors.ts';
import type { LinearHead, M3Heads } from './m3Heads.ts';
import {
  claimName,
  DataType,
  decodeModel,
  encodeFragment,
  floatTensor,
  int64Tensor,
  type Model,
  makeNode,
  makeValueInfo,
  type NodeProto,
  opsetOf,
  type TensorProto,
  usedNames,
  type ValueInfoProto,
} from './proto.ts';

/** torch.nn.functional.normalize divides by max(norm, eps). */
const NORMALIZE_EPS = 1e-12;
const HIDDEN_OUTPUTS = ['token_embeddings', 'last_hidden_state'];
const MIN_OPSET = 11;

export interface WithHeads {
  /** The model's own bytes with the heads after them. External data are looked up where they were. */
  bytes: Uint8Array;
  /** Names of the outputs added: [B, dims] normalised, [B, L, 1] ≥ 0, [B, L−1, dims] normalised (zero rows for padding). */
  outputs: { dense: string; sparse: string; colbert: string };
}

/**
 * `modelBytes` is the graph file alone (external data stay untouched). Protobuf messages concatenate, so the
 * graph is read but never written again: the added parts are appended to its bytes.
 * Throws `invalid_model` when the graph has no token embeddings, no attention mask, another hidden size than
 * the heads, or an operator set older than 11.
 */
export function addHeads(modelBytes: Uint8Array, heads: M3Heads): WithHeads {
  const model = decodeModel(modelBytes);
  const opset = opsetOf(model);
  if (opset < MIN_OPSET)
    throw new TrivecError(
      'invalid_model',
      `Heads need operator set ${MIN_OPSET} or later, the model has ${opset}.`,
    );
  const hidden = findHidden(model, heads);
  if (!model.graph.input.some(({ name }) => name === 'attention_mask'))
    throw new TrivecError('invalid_model', 'Heads need the input attention_mask, which the model lacks.');

  const builder = new HeadBuilder(model, opset);
  const outputs = builder.build(hidden, heads);
  const fragment = encodeFragment(builder);
  const bytes = new Uint8Array(modelBytes.length + fragment.length);
  bytes.set(modelBytes);
  bytes.set(fragment, modelBytes.length);
  return { bytes, outputs };
}

interface Hidden {
  name: string;
  dataType: DataType;
}

function findHidden(model: Model, heads: M3Heads): Hidden {
  const found = HIDDEN_OUTPUTS.map((name) => model.graph.output.find((output) => output.name === name)).find(
    (output) => output !== undefined,
  );
  if (found === undefined) {
    const names = model.graph.output.map(({ name }) => name).join(', ');
    throw new TrivecError(
      'invalid_model',
      `Heads need an output ${HIDDEN_OUTPUTS.join(' or ')}, the model has ${names}.`,
    );
  }
  const tensor = found.type?.value.case === 'tensorType' ? found.type.value.value : undefined;
  const dims = tensor?.shape?.dim ?? [];
  const size = dims[2]?.value;
  if (dims.length > 0 && dims.length !== 3)
    throw new TrivecError(
      'invalid_model',
      `Output ${found.name} has ${dims.length} dimensions, [batch, tokens, hidden] expected.`,
    );
  if (size?.case === 'dimValue' && Number(size.value) !== heads.sparse.inDims)
    throw new TrivecError(
      'invalid_model',
      `The heads take ${heads.sparse.inDims} dimensions, the model's ${found.name} has ${size.value}.`,
    );
  return { name: found.name, dataType: tensor?.elemType ?? DataType.FLOAT };
}

class HeadBuilder {
  readonly node: NodeProto[] = [];
  readonly initializer: TensorProto[] = [];
  readonly output: ValueInfoProto[] = [];
  private readonly names: Set<string>;
  private readonly opset: number;

  constructor(model: Model, opset: number) {
    this.names = usedNames(model.graph);
    this.opset = opset;
  }

  build(hidden: Hidden, heads: M3Heads): WithHeads['outputs'] {
    const tokens =
      hidden.dataType === DataType.FLOAT
        ? hidden.name
        : this.op('Cast', [hidden.name], 'hidden', { to: BigInt(DataType.FLOAT) });
    return {
      dense: this.dense(tokens, heads.sparse.inDims),
      sparse: this.sparse(tokens, heads.sparse),
      colbert: this.colbert(tokens, heads.colbert),
    };
  }

  /** h[:, 0], L2-normalised. */
  private dense(hidden: string, dims: number): string {
    const cls = this.op('Gather', [hidden, this.int64('zero', [], [0n])], 'cls', { axis: 1n });
    return this.addOutput('dense_vecs', this.normalized(cls, 1n), ['batch_size', dims]);
  }

  /** relu(h · Wᵀ + b) */
  private sparse(hidden: string, head: LinearHead): string {
    const weights = this.op('Relu', [this.linear(hidden, head, 'sparse')], 'sparse');
    return this.addOutput('sparse_vecs', weights, ['batch_size', 'sequence_length', 1]);
  }

  /** (h[:, 1:] · Wᵀ + b) · mask[:, 1:], each row L2-normalised. */
  private colbert(hidden: string, head: LinearHead): string {
    const rows = this.linear(this.withoutFirst(hidden), head, 'colbert');
    const mask = this.op('Cast', [this.withoutFirst('attention_mask')], 'mask', {
      to: BigInt(DataType.FLOAT),
    });
    const column = this.op('Reshape', [mask, this.int64('mask_shape', [3], [0n, 0n, 1n])], 'mask_column');
    const masked = this.op('Mul', [rows, column], 'colbert_masked');
    return this.addOutput('colbert_vecs', this.normalized(masked, 2n), [
      'batch_size',
      'sequence_length_less_one',
      head.outDims,
    ]);
  }

  private linear(rows: string, { weight, bias, inDims, outDims }: LinearHead, label: string): string {
    const columns = new Float32Array(weight.length);
    for (let out = 0; out < outDims; out++)
      for (let dim = 0; dim < inDims; dim++) columns[dim * outDims + out] = weight[out * inDims + dim]!;
    const product = this.op(
      'MatMul',
      [rows, this.float(`${label}_weight`, [inDims, outDims], columns)],
      `${label}_product`,
    );
    return this.op('Add', [product, this.float(`${label}_bias`, [outDims], bias)], `${label}_linear`);
  }

  private withoutFirst(value: string): string {
    const one = this.int64('one', [1], [1n]);
    const end = this.int64('end', [1], [2n ** 63n - 1n]);
    return this.op('Slice', [value, one, end, one], 'without_first');
  }

  private normalized(rows: string, axis: bigint): string {
    // From operator set 18 on the axes of a reduction are an input.
    const norm =
      this.opset < 18
        ? this.op('ReduceL2', [rows], 'norm', { axes: [axis], keepdims: 1n })
        : this.op('ReduceL2', [rows, this.int64('axis', [1], [axis])], 'norm', { keepdims: 1n });
    const atLeast = this.op(
      'Max',
      [norm, this.float('eps', [], Float32Array.of(NORMALIZE_EPS))],
      'norm_floor',
    );
    return this.op('Div', [rows, atLeast], 'normalized');
  }

  private op(
    opType: string,
    inputs: string[],
    label: string,
    attributes: Parameters<typeof makeNode>[3] = {},
  ): string {
    const output = claimName(this.names, `trivec_${label}`);
    this.node.push(makeNode(opType, inputs, [output], attributes));
    return output;
  }

  private int64(label: string, dims: number[], values: bigint[]): string {
    const name = claimName(this.names, `trivec_${label}`);
    this.initializer.push(int64Tensor(name, dims, values));
    return name;
  }

  private float(label: string, dims: number[], values: Float32Array): string {
    const name = claimName(this.names, `trivec_${label}`);
    this.initializer.push(floatTensor(name, dims, values));
    return name;
  }

  private addOutput(wanted: string, value: string, shape: (number | string)[]): string {
    const name = claimName(this.names, wanted);
    this.node.push(makeNode('Identity', [value], [name]));
    this.output.push(makeValueInfo(name, DataType.FLOAT, shape));
    return name;
  }
}
