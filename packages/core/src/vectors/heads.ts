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
 * Writes every row of `source` [rows, dims], divided by max(‖row‖, 1e-12), to `target` of the same size; a zero
 * row stays zero. They may be the same array. Returns false where a row holds a NaN or an infinity.
 */
export function normalizeRows(source: Float32Array, target: Float32Array, dims: number): boolean {
  let finite = true;
  for (let at = 0; at < source.length; at += dims) {
    const end = at + dims;
    // Two sums at once let the processor overlap the additions.
    let [even, odd] = [0, 0];
    let i = at;
    for (; i + 1 < end; i += 2) {
      even += source[i]! * source[i]!;
      odd += source[i + 1]! * source[i + 1]!;
    }
    if (i < end) even += source[i]! * source[i]!;
    const scale = 1 / Math.max(Math.sqrt(even + odd), NORMALIZE_EPS);
    for (i = at; i < end; i++) target[i] = source[i]! * scale;
    if (!Number.isFinite(even + odd)) finite = false;
  }
  return finite;
}

/**
 * Writes the first `target.length` numbers of `source` to `target`, L2-normalised after that cut unless
 * `normalize` is false. Returns false where they hold a NaN or an infinity.
 */
export function finishDense(source: Float32Array, target: Float32Array, normalize: boolean): boolean {
  const cut = source.subarray(0, target.length);
  if (normalize) return normalizeRows(cut, target, target.length);
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
