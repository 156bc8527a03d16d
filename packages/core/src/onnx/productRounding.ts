/**
 * The ways in which a weight product may be computed with 8-bit weights. Each stores the weight and puts
 * other nodes where the product stood; everything around it stays as it was.
 */
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
const ZERO_POINT = Uint8Array.of(128);
const INT8_MAX = 127;
/** A row of zeros must not divide by zero. */
const MIN_ROW_SCALE = 1e-9;

/**
 * int8 with one scale a token (row of the activation) and one a column of the weight. A row's result depends on
 * that row only, so a text gets the same vector in any batch. Products of one activation share its rounding.
 *   s = max(max|x|/127, 1e-9);  y = (round(x/s) · Wq) · Ws · s
 */
export class RowwiseInt8 implements ProductRounding {
  readonly needs = { opset: 10, operator: 'QuantizeLinear' };
  private readonly editor: GraphEditor;
  private readonly opset: number;
  private readonly storeTensor: StoreTensor;
  private readonly rounded = new Map<string, { values: string; scales: string }>();

  constructor(editor: GraphEditor, opset: number, storeTensor: StoreTensor) {
    this.editor = editor;
    this.opset = opset;
    this.storeTensor = storeTensor;
  }

  store(product: WeightProduct, weight: Float32Array): Promise<StoredWeight> {
    return storeColumns(this.editor, this.storeTensor, product, weight);
  }

  emit({ node, activation, bias, output }: WeightProduct, weight: StoredWeight): void {
    this.editor.replace(node, () => {
      const row = this.rounded.get(activation) ?? this.round(activation);
      const product = this.editor.op(
        'MatMulIntegerToFloat',
        [row.values, weight.values, this.editor.float('one', 1), weight.scales, this.zeroPoint()],
        'int_product',
        { domain: MICROSOFT_DOMAIN },
      );
      if (bias === undefined) this.editor.op('Mul', [product, row.scales], 'product', { output });
      else
        this.editor.op('Add', [this.editor.op('Mul', [product, row.scales], 'product'), bias], 'sum', {
          output,
        });
    });
  }

  private round(activation: string): { values: string; scales: string } {
    const { editor } = this;
    const magnitudes = editor.op('Abs', [activation], 'magnitudes');
    // From operator set 18 on the axes of a reduction are an input.
    const peaks =
      this.opset < 18
        ? editor.op('ReduceMax', [magnitudes], 'peaks', { attributes: { axes: [-1n], keepdims: 1n } })
        : editor.op('ReduceMax', [magnitudes, editor.axis(-1)], 'peaks', { attributes: { keepdims: 1n } });
    const steps = editor.op('Mul', [peaks, editor.float('int8_step', 1 / INT8_MAX)], 'steps');
    const scales = editor.op('Max', [steps, editor.float('min_scale', MIN_ROW_SCALE)], 'row_scales');
    const scaled = editor.op('Div', [activation, scales], 'scaled');
    const values = editor.op('QuantizeLinear', [scaled, editor.float('one', 1), this.zeroPoint()], 'rounded');
    const row = { values, scales };
    this.rounded.set(activation, row);
    return row;
  }

  private zeroPoint(): string {
    return this.editor.constant('zero_point', DataType.UINT8, [], ZERO_POINT);
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
