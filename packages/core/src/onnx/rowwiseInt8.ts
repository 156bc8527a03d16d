/** The rounding behind dtype `int8`. */
import { type ActivationKinds, GELU_MIN } from './activationKinds.ts';
import type { StatisticsByActivation } from './activationStatistics.ts';
import { quantizeColumnsCompensated, scaleMoments } from './compensatedRounding.ts';
import type { GraphEditor } from './graphEditor.ts';
import { findOutlierRows, strongestChannels, takeRows } from './outlierRows.ts';
import {
  type ProductRounding,
  type ReadWeight,
  type StoredWeight,
  type StoreTensor,
  storeColumns,
  storeRounded,
} from './productRounding.ts';
import { DataType, MICROSOFT_DOMAIN } from './proto.ts';
import type { WeightProduct } from './weightProducts.ts';
import { raiseRowPeaks, scaleRows, smoothingFactors } from './weightSmoothing.ts';

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
 * Attention averages values over tokens, among them tokens with a few huge channels and so a coarse step. Without
 * `statistics`, what their rounding leaves is rounded and multiplied as well: y = (q · Wq + r/254 · Wq) · Ws · s.
 * With them, a normalised activation's large channels are made smaller and their weights larger before either is
 * rounded (SmoothQuant, arXiv 2211.10438, with α = 1/2), and weights are rounded so that their errors cancel on such
 * activations. Of the activation that attention's values are made from, the strongest channels then are not rounded
 * but multiplied in fp32, like the few outlying rows of weights that were not smoothed:
 *   y += x[outlying] · W[outlying]
 */
export class RowwiseInt8 implements ProductRounding {
  readonly needs = { opset: 11, operator: 'Round' };
  private readonly editor: GraphEditor;
  private readonly opset: number;
  private readonly storeTensor: StoreTensor;
  private readonly kinds: ActivationKinds;
  private readonly statistics: StatisticsByActivation;
  private readonly rounded = new Map<string, RoundedRows>();
  private readonly smoothing = new Map<string, Float32Array>();
  /** Channels of smoothed activations that are multiplied in fp32. */
  private readonly exact = new Map<string, readonly number[]>();
  private readonly gathered = new Map<string, string>();

  constructor(
    editor: GraphEditor,
    opset: number,
    storeTensor: StoreTensor,
    kinds: ActivationKinds,
    statistics: StatisticsByActivation = new Map(),
  ) {
    this.editor = editor;
    this.statistics = statistics;
    this.opset = opset;
    this.storeTensor = storeTensor;
    this.kinds = kinds;
  }

  async prepare(products: readonly WeightProduct[], read: ReadWeight): Promise<void> {
    for (const [activation, { peaks }] of this.statistics) {
      if (peaks === undefined) continue;
      const users = products.filter((candidate) => candidate.activation === activation);
      const weightPeaks = new Float32Array(peaks.length);
      for (const product of users) raiseRowPeaks(weightPeaks, await read(product), product);
      const factors = smoothingFactors(peaks, weightPeaks);
      this.smoothing.set(activation, factors);
      if (users.some(({ node }) => this.kinds.isValueProjection(node)))
        this.exact.set(activation, strongestChannels(peaks.map((peak, at) => peak / factors[at]!)));
    }
  }

  keyOf({ weight, transposed, activation }: WeightProduct): string {
    return [weight.name, transposed, this.statistics.has(activation) ? activation : ''].join('\n');
  }

  async store(product: WeightProduct, weight: Float32Array): Promise<StoredWeight> {
    const factors = this.smoothing.get(product.activation);
    // Smoothing has evened out the rows of the others.
    const rows =
      factors === undefined ? findOutlierRows(weight, product) : (this.exact.get(product.activation) ?? []);
    const outliers = rows.length === 0 ? undefined : await this.storeOutliers(product, weight, rows);
    if (factors !== undefined) scaleRows(weight, product, factors);
    const stored = await this.storeValues(product, weight);
    return { ...stored, ...(outliers && { outliers }) };
  }

  private async storeValues(product: WeightProduct, weight: Float32Array) {
    const { editor } = this;
    const known = this.statistics.get(product.activation);
    if (known === undefined) return await storeColumns(editor, this.storeTensor, product, weight);
    const { inDims, outDims, transposed } = product;
    const shares = this.shares(product.activation);
    const moments = shares === undefined ? known.moments : scaleMoments(known.moments, shares);
    const rounded = quantizeColumnsCompensated(weight, inDims, outDims, transposed, moments);
    return await storeRounded(editor, this.storeTensor, inDims, rounded);
  }

  private async storeOutliers(product: WeightProduct, weight: Float32Array, rows: readonly number[]) {
    const { editor, storeTensor } = this;
    const label = `outlier_rows_${rows.join('_')}`;
    const storedRows = editor.constant(
      label,
      DataType.INT64,
      [rows.length],
      BigInt64Array.from(rows, BigInt),
    );
    const values = editor.tensor('outlier_weight', DataType.FLOAT, [rows.length, product.outDims]);
    await storeTensor(values, takeRows(weight, product, rows));
    return { rows: storedRows, values: values.name };
  }

  emit({ node, activation, bias, output }: WeightProduct, weight: StoredWeight): void {
    const { editor } = this;
    editor.replace(node, () => {
      const rows = this.rounded.get(activation) ?? this.round(activation);
      const { outliers } = weight;
      let sum = this.multiply(rows.codes, rows.zeroPoint, 1, weight);
      if (this.kinds.isValueProjection(node) && !this.exact.has(activation))
        sum = editor.op('Add', [sum, this.multiplyRemainder(rows, weight)], 'product');
      const last = { output };
      const isLast = outliers === undefined && bias === undefined;
      sum = editor.op('Mul', [sum, rows.scales], 'product', isLast ? last : {});
      if (outliers !== undefined) {
        const exact = this.multiplyExactly(activation, outliers);
        sum = editor.op('Add', [sum, exact], 'product', bias === undefined ? last : {});
      }
      if (bias !== undefined) editor.op('Add', [sum, bias], 'sum', last);
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

  private multiplyExactly(activation: string, { rows, values }: { rows: string; values: string }): string {
    const { editor } = this;
    const key = `${activation}\n${rows}`;
    const channels =
      this.gathered.get(key) ??
      editor.op('Gather', [activation, rows], 'outliers', { attributes: { axis: -1n } });
    this.gathered.set(key, channels);
    return editor.op('MatMul', [channels, values], 'exact_product');
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
    const shares = this.shares(activation);
    const rowsIn = shares === undefined ? activation : this.smooth(activation, shares);
    const scales = this.kinds.isGelu(activation) ? this.oneSidedScales(rowsIn) : this.scales(rowsIn);
    const scaled = editor.op('Div', [rowsIn, scales.name], 'scaled');
    const inputs = [scaled, editor.float(1), this.zeroPoint(scales.zeroPoint)];
    const codes = editor.op('QuantizeLinear', inputs, 'rounded');
    const rows = { codes, zeroPoint: scales.zeroPoint, scaled, scales: scales.name };
    this.rounded.set(activation, rows);
    return rows;
  }

  private smooth(activation: string, shares: Float32Array): string {
    const label = `smoothing_${this.rounded.size}`;
    const name = this.editor.constant(label, DataType.FLOAT, [shares.length], shares);
    return this.editor.op('Mul', [activation, name], 'smoothed');
  }

  /** What is left of each channel before it is rounded: nothing of those that are multiplied in fp32. */
  private shares(activation: string): Float32Array | undefined {
    const shares = this.smoothing.get(activation)?.map((factor) => 1 / factor);
    for (const channel of this.exact.get(activation) ?? []) shares![channel] = 0;
    return shares;
  }

  private scales(activation: string): { name: string; zeroPoint: number } {
    const { editor } = this;
    // Two reductions read the activation twice; Abs before one of them would write it as well.
    const lowest = editor.op('Neg', [this.reduce('ReduceMin', activation)], 'lowest');
    const floor = editor.float(MIN_ROW_SCALE * EITHER_SIDE.largest);
    const peaks = editor.op('Max', [this.reduce('ReduceMax', activation), lowest, floor], 'peaks');
    const name = editor.op('Mul', [peaks, editor.float(1 / EITHER_SIDE.largest)], 'row_scales');
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
