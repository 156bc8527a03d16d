/**
 * Rounding weights so that their errors cancel on the activations they meet: what one row loses is made up for by the
 * rows after it, as far as their channels move together (GPTQ, arXiv 2210.17323, in the form of LDLQ, 2307.13304). Pure.
 */
import { columnScales, type RoundedColumns, toInt8 } from './weightRounding.ts';

/** More blocks of fewer channels would miss what lies between them, larger ones cost their square in time. */
const MAX_BLOCK = 128;
/** Columns whose rows of a block stay in the processor's cache. */
const TILE = 128;
/** Of the mean square of a block's channels: few samples say little about how channels move together. */
const DAMPING = 0.3;

/** Σ x[i]·x[j] over tokens, for the channels of one block after the other: [channels / block, block, block]. */
export interface ChannelMoments {
  block: number;
  values: Float32Array;
}

/** The largest divisor of the number of channels that is a block's size. */
export function momentBlock(channels: number): number {
  let block = Math.min(MAX_BLOCK, channels);
  while (channels % block !== 0) block--;
  return block;
}

/** The moments of the channels multiplied by `shares`. */
export function scaleMoments({ block, values }: ChannelMoments, shares: Float32Array): ChannelMoments {
  return {
    block,
    values: values.map((value, at) => {
      const row = Math.floor(at / block);
      const column = Math.floor(row / block) * block + (at % block);
      return value * shares[row]! * shares[column]!;
    }),
  };
}

/**
 * As quantizeColumns, with the moments of the activation's channels [rows]: same scales, other choices between a
 * weight's two neighbouring codes.
 */
export function quantizeColumnsCompensated(
  weights: Float32Array,
  rows: number,
  columns: number,
  transposed: boolean,
  moments: ChannelMoments,
): RoundedColumns {
  const scales = columnScales(weights, rows, columns, transposed);
  const values = new Int8Array(rows * columns);
  const [rowStep, columnStep] = transposed ? [1, rows] : [columns, 1];
  const { block } = moments;
  const errors = new Float32Array(block * TILE);
  const wanted = new Float32Array(TILE);
  for (let first = 0; first < rows; first += block) {
    const { order, feedback } = planBlock(
      moments.values.subarray(first * block, (first + block) * block),
      block,
    );
    for (let left = 0; left < columns; left += TILE) {
      const width = Math.min(TILE, columns - left);
      for (let step = 0; step < block; step++) {
        const row = first + order[step]!;
        for (let i = 0; i < width; i++) wanted[i] = weights[row * rowStep + (left + i) * columnStep]!;
        // A row's error is of its weight as it was, not of what it was asked to be instead.
        const own = errors.subarray(step * TILE, step * TILE + width);
        own.set(wanted.subarray(0, width));
        addWeighted(wanted, errors, feedback.subarray(step * block, step * block + step), width);
        for (let i = 0; i < width; i++) {
          const scale = scales[left + i]!;
          const code = toInt8(wanted[i]! / scale);
          values[row * columns + left + i] = code;
          own[i] = own[i]! - code * scale;
        }
      }
    }
  }
  return { values, scales };
}

/** target += Σ shares[k] · rows[k], rows being TILE apart. Four rows at a time: fewer passes over the target. */
function addWeighted(target: Float32Array, rows: Float32Array, shares: Float32Array, width: number): void {
  let k = 0;
  for (; k + 4 <= shares.length; k += 4) {
    const [a, b, c, d] = [shares[k]!, shares[k + 1]!, shares[k + 2]!, shares[k + 3]!];
    const at = k * TILE;
    for (let i = 0; i < width; i++)
      target[i] =
        target[i]! +
        a * rows[at + i]! +
        b * rows[at + TILE + i]! +
        c * rows[at + 2 * TILE + i]! +
        d * rows[at + 3 * TILE + i]!;
  }
  for (; k < shares.length; k++)
    for (let i = 0; i < width; i++) target[i] = target[i]! + shares[k]! * rows[k * TILE + i]!;
}

/**
 * The order in which a block's rows are rounded, the strongest channels first as later rows make up for earlier ones,
 * and for each of them the shares of the errors before it: H = (U + 1) · D · (U + 1)ᵀ with U strictly upper, and row
 * `step` of `feedback` is column `step` of U.
 */
function planBlock(moments: Float32Array, block: number): { order: number[]; feedback: Float32Array } {
  const strength = Array.from({ length: block }, (_, i) => moments[i * block + i]!);
  const order = strength.map((_, i) => i).sort((a, b) => strength[b]! - strength[a]! || a - b);
  const feedback = new Float32Array(block * block);
  const mean = strength.reduce((sum, value) => sum + value, 0) / block;
  // Channels that no sample used, or a sample that overflowed: nothing is known.
  if (!(mean > 0 && mean < Number.POSITIVE_INFINITY)) return { order, feedback };
  const rest = Float64Array.from({ length: block * block }, (_, at) => {
    const [i, j] = [Math.floor(at / block), at % block];
    return moments[order[i]! * block + order[j]!]! + (i === j ? DAMPING * mean : 0);
  });
  for (let j = block - 1; j > 0; j--) {
    const pivot = rest[j * block + j]!;
    for (let i = 0; i < j; i++) feedback[j * block + i] = rest[j * block + i]! / pivot;
    for (let i = 0; i < j; i++) {
      const share = rest[j * block + i]! / pivot;
      for (let k = 0; k <= i; k++) {
        const at = i * block + k;
        rest[at] = rest[at]! - share * rest[j * block + k]!;
      }
    }
  }
  return { order, feedback };
}
