/**
 * The ways in which a weight product may be computed with 8-bit weights. Each stores the weight and puts
 * other nodes where the product stood; everything around it stays as it was.
 */
import { type ActivationKinds, GELU_MIN } from './activationKinds.ts';
import type { GraphEditor } from './graphEditor.ts';
import { DataType, MICROSOFT_DOMAIN, type TensorProto } from './proto.ts';
import type { WeightProduct } from './weightProducts.ts';
import { quantizeBlocks, quantizeColumns } from './weightRounding.ts';

export interface StoredWeight {
  values: string;
  scales: string;
}

/** Puts a tensor's data where the rewritten model keeps them. */
export type StoreTensor = (tensor: TensorProto, data: ArrayBufferView) => Promise<void>;

export interface ProductRounding {
  /** Oldest standard operator set with the operators it needs, and which operator that is. */
  readonly needs: { opset: number; operator: string };
  store(product: WeightProduct, weight: Float32Array): Promise<StoredWeight>;
  emit(product: WeightProduct, weight: StoredWeight): void;
}

/** Half of the codes on either side of 128, so that the unsigned code 128 is 0. */
const EITHER_SIDE = { zeroPoint: 128, largest: 127 };
/** A GELU's output is hardly ever negative: code 32 is 0 and most of the codes are for what is above. */
const ONE_SIDED = { zeroPoint: 32, largest: 223 };
/** A row of zeros must not divide by zero. */
const MIN_ROW_SCALE = 1e-9;
/** What rounding leaves is at most half a step, and gets 8 bits of its own. */
const REMAINDER_STEP = 1 / 254;

interface RoundedRows {
  codes: string;
  zeroPoint: number;
  /** The rows divided by their scales, before rounding. */
  scaled: string;
  scales: string;
}

/**
 * int8 with one scale a token (row of the activation) and one a column of the weight. A row's result depends on
 * that row only, so a text gets the same vector in any batch. Products of one activation share its rounding.
 *   s = max(max|x|/127, 1e-9);  y = (round(x/s) · Wq) · Ws · s
 * Attention averages values over tokens, among them tokens with a few huge channels and so a coarse step; what
 * their rounding leaves is therefore rounded and multiplied as well: y = (q · Wq + r/254 · Wq) · Ws · s.
 */
export class RowwiseInt8 implements ProductRounding {
  readonly needs = { opset: 11, operator: 'Round' };
  private readonly editor: GraphEditor;
  private readonly opset: number;
  private readonly storeTensor: StoreTensor;
  private readonly kinds: ActivationKinds;
  private readonly rounded = new Map<string, RoundedRows>();

  constructor(editor: GraphEditor, opset: number, storeTensor: StoreTensor, kinds: ActivationKinds) {
    this.editor = editor;
    this.opset = opset;
    this.storeTensor = storeTensor;
    this.kinds = kinds;
  }

  store(product: WeightProduct, weight: Float32Array): Promise<StoredWeight> {
    return storeColumns(this.editor, this.storeTensor, product, weight);
  }

  emit({ node, activation, bias, output }: WeightProduct, weight: StoredWeight): void {
    const { editor } = this;
    editor.replace(node, () => {
      const rows = this.rounded.get(activation) ?? this.round(activation);
      let product = this.multiply(rows.codes, rows.zeroPoint, 1, weight);
      if (this.kinds.isValueProjection(node))
        product = editor.op('Add', [product, this.multiplyRemainder(rows, weight)], 'product');
      if (bias === undefined) editor.op('Mul', [product, rows.scales], 'product', { output });
      else editor.op('Add', [editor.op('Mul', [product, rows.scales], 'product'), bias], 'sum', { output });
    });
  }

  private multiply(codes: string, zeroPoint: number, scale: number, weight: StoredWeight): string {
    return this.editor.op(
      'MatMulIntegerToFloat',
      [codes, weight.values, this.editor.float(scale), weight.scales, this.zeroPoint(zeroPoint)],
      'int_product',
      { domain: MICROSOFT_DOMAIN },
    );
  }

  private multiplyRemainder({ scaled }: RoundedRows, weight: StoredWeight): string {
    const { editor } = this;
    // Round and QuantizeLinear both round halves to even, so the remainder is within half a step.
    const remainder = editor.op('Sub', [scaled, editor.op('Round', [scaled], 'whole')], 'remainder');
    const { zeroPoint } = EITHER_SIDE;
    const inputs = [remainder, editor.float(REMAINDER_STEP), this.zeroPoint(zeroPoint)];
    return this.multiply(editor.op('QuantizeLinear', inputs, 'rounded'), zeroPoint, REMAINDER_STEP, weight);
  }

  private round(activation: string): RoundedRows {
    const { editor } = this;
    const scales = this.kinds.isGelu(activation) ? this.oneSidedScales(activation) : this.scales(activation);
    const scaled = editor.op('Div', [activation, scales.name], 'scaled');
    const inputs = [scaled, editor.float(1), this.zeroPoint(scales.zeroPoint)];
    const codes = editor.op('QuantizeLinear', inputs, 'rounded');
    const rows = { codes, zeroPoint: scales.zeroPoint, scaled, scales: scales.name };
    this.rounded.set(activation, rows);
    return rows;
  }

  private scales(activation: string): { name: string; zeroPoint: number } {
    const { editor } = this;
    // Two reductions read the activation twice; Abs before one of them would write it as well.
    const lowest = editor.op('Neg', [this.reduce('ReduceMin', activation)], 'lowest');
    const peaks = editor.op('Max', [this.reduce('ReduceMax', activation), lowest], 'peaks');
    const steps = editor.op('Mul', [peaks, editor.float(1 / EITHER_SIDE.largest)], 'steps');
    const name = editor.op('Max', [steps, editor.float(MIN_ROW_SCALE)], 'row_scales');
    return { name, zeroPoint: EITHER_SIDE.zeroPoint };
  }

  /** A step is large enough for the smallest value to be reached with the codes below zero. */
  private oneSidedScales(activation: string): { name: string; zeroPoint: number } {
    const { editor } = this;
    const { zeroPoint, largest } = ONE_SIDED;
    const peaks = this.reduce('ReduceMax', activation);
    const steps = editor.op('Mul', [peaks, editor.float(1 / largest)], 'steps');
    const name = editor.op('Max', [steps, editor.float(-GELU_MIN / zeroPoint)], 'row_scales');
    return { name, zeroPoint };
  }

  private reduce(opType: 'ReduceMax' | 'ReduceMin', value: string): string {
    const { editor } = this;
    // From operator set 18 on the axes of a reduction are an input.
    return this.opset < 18
      ? editor.op(opType, [value], 'extreme', { attributes: { axes: [-1n], keepdims: 1n } })
      : editor.op(opType, [value, editor.axis(-1)], 'extreme', { attributes: { keepdims: 1n } });
  }

  private zeroPoint(code: number): string {
    return this.editor.constant(`code_${code}`, DataType.UINT8, [], Uint8Array.of(code));
  }
}

/**
 * 8-bit weights in blocks of 128 with a scale each; the runtime rounds activations block by block too. About
 * a third of the row-wise error at half its speed.
 */
export class BlockwiseInt8 implements ProductRounding {
  readonly needs = { opset: 1, operator: 'MatMulNBits' };
  private readonly editor: GraphEditor;
  private readonly storeTensor: StoreTensor;

  constructor(editor: GraphEditor, storeTensor: StoreTensor) {
    this.editor = editor;
    this.storeTensor = storeTensor;
  }

  async store({ inDims, outDims, transposed }: WeightProduct, weight: Float32Array): Promise<StoredWeight> {
    const blocks = Math.ceil(inDims / BLOCK);
    const { values, scales } = quantizeBlocks(weight, inDims, outDims, transposed, BLOCK);
    const stored = this.editor.tensor('weight_blocks', DataType.UINT8, [outDims, blocks, BLOCK]);
    const storedScales = this.editor.tensor('weight_scales', DataType.FLOAT, [outDims * blocks]);
    await this.storeTensor(stored, values);
    await this.storeTensor(storedScales, scales);
    return { values: stored.name, scales: storedScales.name };
  }

  emit(product: WeightProduct, weight: StoredWeight): void {
    const { node, activation, bias, output, inDims, outDims } = product;
    const attributes = {
      K: BigInt(inDims),
      N: BigInt(outDims),
      bits: 8n,
      block_size: BigInt(BLOCK),
      // The activation is rounded to int8 as well; without it the product is computed in fp32.
      accuracy_level: 4n,
    };
    this.editor.replace(node, () => {
      const inputs = [activation, weight.values, weight.scales];
      const options = { attributes, domain: MICROSOFT_DOMAIN };
      if (bias === undefined) this.editor.op('MatMulNBits', inputs, 'product', { ...options, output });
      else
        this.editor.op('Add', [this.editor.op('MatMulNBits', inputs, 'product', options), bias], 'sum', {
          output,
        });
    });
  }
}

const BLOCK = 128;

/** Stores a weight as int8 [inDims, outDims] with fp32 scales [outDims]. */
export async function storeColumns(
  editor: GraphEditor,
  storeTensor: StoreTensor,
  { inDims, outDims, transposed }: WeightProduct,
  weight: Float32Array,
): Promise<StoredWeight> {
  const { values, scales } = quantizeColumns(weight, inDims, outDims, transposed);
  const stored = editor.tensor('weight', DataType.INT8, [inDims, outDims]);
  const storedScales = editor.tensor('weight_scales', DataType.FLOAT, [outDims]);
  await storeTensor(stored, values);
  await storeTensor(storedScales, scales);
  return { values: stored.name, scales: storedScales.name };
}
