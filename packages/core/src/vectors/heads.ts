/**
 * From a model's raw numbers to finished vectors, as FlagEmbedding does it
 * (`finetune/embedder/encoder_only/m3/modeling.py`, `inference/embedder/encoder_only/m3.py`).
 * Sums are made in float64, results are float32.
 */
import type { Pooling } from './headPlan.ts';
import type { SparseVector } from './types.ts';

/** torch.nn.functional.normalize divides by max(norm, eps). */
const NORMALIZE_EPS = 1e-12;

/**
 * Writes `source / max(‖source‖, 1e-12)` to `target`, of the same length; a zero row stays zero.
 * Returns false where the row holds a NaN or an infinity.
 */
export function normalizeInto(source: Float32Array, target: Float32Array): boolean {
  let sum = 0;
  for (let i = 0; i < source.length; i++) sum += source[i]! * source[i]!;
  const scale = 1 / Math.max(Math.sqrt(sum), NORMALIZE_EPS);
  for (let i = 0; i < source.length; i++) target[i] = source[i]! * scale;
  return Number.isFinite(sum);
}

/**
 * Writes the first `target.length` numbers of `source` to `target`, L2-normalised after that cut unless
 * `normalize` is false. Returns false where they hold a NaN or an infinity.
 */
export function finishDense(source: Float32Array, target: Float32Array, normalize: boolean): boolean {
  const cut = source.subarray(0, target.length);
  if (normalize) return normalizeInto(cut, target);
  target.set(cut);
  return target.every(Number.isFinite);
}

/**
 * One vector from the token vectors of a text. `rows` is [tokens, dims] row-major, padding left out.
 * cls: the first; last: the last; mean: the average (sentence-transformers' Pooling).
 */
export function pool(rows: Float32Array, dims: number, pooling: Pooling): Float32Array {
  if (pooling === 'cls') return rows.subarray(0, dims);
  if (pooling === 'last') return rows.subarray(rows.length - dims);
  const sums = new Float64Array(dims);
  for (let at = 0; at < rows.length; at += dims) for (let d = 0; d < dims; d++) sums[d]! += rows[at + d]!;
  const count = rows.length / dims;
  return Float32Array.from(sums, (sum) => sum / count);
}

/**
 * Lexical weights of one text: the greatest weight of each token id, where it is above zero and the id is
 * not ignored. `weights` has one number a token. A NaN is no weight.
 */
export function finishSparse(
  ids: Int32Array,
  weights: Float32Array,
  ignoredIds: ReadonlySet<number>,
): SparseVector {
  const greatest = new Map<number, number>();
  for (let i = 0; i < ids.length; i++) {
    const [id, weight] = [ids[i]!, weights[i]!];
    if (weight > (greatest.get(id) ?? 0) && !ignoredIds.has(id)) greatest.set(id, weight);
  }
  const indices = Uint32Array.from(greatest.keys()).sort();
  return { indices, values: Float32Array.from(indices, (id) => greatest.get(id)!) };
}

/**
 * Normalises every row of `source` [rows, dims] into `target`. Returns false where one holds a NaN or an infinity.
 */
export function finishColbert(source: Float32Array, target: Float32Array, dims: number): boolean {
  let finite = true;
  for (let at = 0; at < source.length; at += dims) {
    const end = at + dims;
    finite = normalizeInto(source.subarray(at, end), target.subarray(at, end)) && finite;
  }
  return finite;
}
