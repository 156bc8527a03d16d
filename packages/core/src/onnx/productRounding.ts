/**
 * What a way of computing weight products with 8-bit weights is made of. Each stores the weight and puts other
 * nodes where the product stood; everything around it stays as it was.
 */
import type { GraphEditor } from './graphEditor.ts';
import { DataType, type TensorProto } from './proto.ts';
import type { WeightProduct } from './weightProducts.ts';
import { quantizeColumns, type RoundedColumns } from './weightRounding.ts';

export interface StoredWeight {
  values: string;
  scales: string;
  /** Rows [rows, outDims] that were not rounded, and their places in the activation. */
  outliers?: { rows: string; values: string };
}

/** Puts a tensor's data where the rewritten model keeps them. */
export type StoreTensor = (tensor: TensorProto, data: ArrayBufferView) => Promise<void>;

export type ReadWeight = (product: WeightProduct) => Promise<Float32Array>;

export interface ProductRounding {
  /** Oldest standard operator set with the operators it needs, and which operator that is. */
  readonly needs: { opset: number; operator: string };
  /** Looks at all products before the first is stored. */
  prepare?(products: readonly WeightProduct[], read: ReadWeight): Promise<void>;
  store(product: WeightProduct, weight: Float32Array): Promise<StoredWeight>;
  /** Products with the same key share what was stored. */
  keyOf?(product: WeightProduct): string;
  emit(product: WeightProduct, weight: StoredWeight): void;
}

/** Stores a weight as int8 [inDims, outDims] with fp32 scales [outDims]. */
export async function storeColumns(
  editor: GraphEditor,
  storeTensor: StoreTensor,
  { inDims, outDims, transposed }: WeightProduct,
  weight: Float32Array,
): Promise<StoredWeight> {
  const rounded = quantizeColumns(weight, inDims, outDims, transposed);
  return await storeRounded(editor, storeTensor, inDims, rounded);
}

/** Stores rounded columns of `rows` rows. */
export async function storeRounded(
  editor: GraphEditor,
  storeTensor: StoreTensor,
  rows: number,
  { values, scales }: RoundedColumns,
): Promise<StoredWeight> {
  const stored = editor.tensor('weight', DataType.INT8, [rows, scales.length]);
  const storedScales = editor.tensor('weight_scales', DataType.FLOAT, [scales.length]);
  await storeTensor(stored, values);
  await storeTensor(storedScales, scales);
  return { values: stored.name, scales: storedScales.name };
}
