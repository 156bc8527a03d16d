/**
 * SmoothQuant's exchange between an activation and the weights it meets (arXiv 2211.10438): a channel is divided by
 * a factor and its weights multiplied by it, so that neither has the few huge values that make rounding coarse. Pure.
 */
import type { WeightProduct } from './weightProducts.ts';

type Layout = Pick<WeightProduct, 'inDims' | 'outDims' | 'transposed'>;

/** Keeps a factor finite for a channel that is never used. */
const MIN_SHARE = 1e-4;

/** Raises `peaks[row]` to the largest magnitude in each row of the weight, whatever its layout. */
export function raiseRowPeaks(peaks: Float32Array, weight: Float32Array, layout: Layout): void {
  forEachValue(layout, (row, at) => {
    peaks[row] = Math.max(peaks[row]!, Math.abs(weight[at]!));
  });
}

/** Multiplies each row of the weight by its factor, in place. */
export function scaleRows(weight: Float32Array, layout: Layout, factors: Float32Array): void {
  forEachValue(layout, (row, at) => {
    weight[at] = weight[at]! * factors[row]!;
  });
}

/** √(activation's peak / weights' peak), channel by channel. */
export function smoothingFactors(activation: Float32Array, weights: Float32Array): Float32Array {
  const [a, w] = [floored(activation), floored(weights)];
  return a.map((peak, channel) => Math.sqrt(peak / w[channel]!));
}

function floored(peaks: Float32Array): Float32Array {
  const floor = peaks.reduce((most, peak) => Math.max(most, peak), 0) * MIN_SHARE || 1;
  return peaks.map((peak) => Math.max(peak, floor));
}

function forEachValue(
  { inDims, outDims, transposed }: Layout,
  visit: (row: number, at: number) => void,
): void {
  for (let at = 0; at < inDims * outDims; at++)
    visit(transposed ? at % inDims : Math.floor(at / outDims), at);
}
