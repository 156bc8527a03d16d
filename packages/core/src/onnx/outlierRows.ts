/**
 * A few rows of a weight can be many times as large as the rest: those of a feed-forward layer's rarely used channels.
 * Every column's step would have to be as coarse as they need, so they are taken out and multiplied in fp32
 * (the decomposition of LLM.int8(), arXiv 2208.07339, by the weight instead of the activation). Pure.
 */
import type { WeightProduct } from './weightProducts.ts';
import { raiseRowPeaks, scaleRows } from './weightSmoothing.ts';

type Layout = Pick<WeightProduct, 'inDims' | 'outDims' | 'transposed'>;

/** Of the median row's peak. */
const OUTLYING = 3;
/** More would cost time, and gain nothing where it was measured. */
const MAX_ROWS = 16;
/** As close as 16 where it was measured. */
const EXACT_CHANNELS = 8;

/** The largest outlying rows, ascending; none in most weights. */
export function findOutlierRows(weight: Float32Array, layout: Layout): number[] {
  const peaks = new Float32Array(layout.inDims);
  raiseRowPeaks(peaks, weight, layout);
  const limit = OUTLYING * peaks.toSorted()[Math.floor(peaks.length / 2)]!;
  return Array.from(peaks, (peak, row) => ({ peak, row }))
    .filter(({ peak }) => peak > limit)
    .sort((a, b) => b.peak - a.peak)
    .slice(0, MAX_ROWS)
    .map(({ row }) => row)
    .sort((a, b) => a - b);
}

/** The channels with the largest peaks, ascending: an eighth of them, but few. */
export function strongestChannels(peaks: Float32Array): number[] {
  return Array.from(peaks, (peak, channel) => ({ peak, channel }))
    .sort((a, b) => b.peak - a.peak || a.channel - b.channel)
    .slice(0, Math.min(EXACT_CHANNELS, peaks.length / 8))
    .map(({ channel }) => channel)
    .sort((a, b) => a - b);
}

/** The rows as [rows, outDims], row-major; in the weight they become zero. */
export function takeRows(weight: Float32Array, layout: Layout, rows: readonly number[]): Float32Array {
  const { inDims, outDims, transposed } = layout;
  const taken = new Float32Array(rows.length * outDims);
  for (const [i, row] of rows.entries())
    for (let column = 0; column < outDims; column++)
      taken[i * outDims + column] = weight[transposed ? column * inDims + row : row * outDims + column]!;
  const kept = new Float32Array(inDims).fill(1);
  for (const row of rows) kept[row] = 0;
  scaleRows(weight, layout, kept);
  return taken;
}
