/** Rounding weights to fewer bits. Pure; symmetric, so that 0 stays 0. */

const INT8_MAX = 127;

/** `weights[k, n] ≈ values[k, n] · scales[n]`; values are [rows, columns]. */
export interface RoundedColumns {
  values: Int8Array;
  scales: Float32Array;
}

/**
 * Per-column int8. `weights` is [rows, columns] row-major, or [columns, rows] when `transposed`; what comes out is
 * always [rows, columns].
 */
export function quantizeColumns(
  weights: Float32Array,
  rows: number,
  columns: number,
  transposed: boolean,
): RoundedColumns {
  const rowStep = transposed ? 1 : columns;
  const columnStep = transposed ? rows : 1;
  const scales = columnScales(weights, rows, columns, transposed);
  const inverse = scales.map((scale) => 1 / scale);
  const values = new Int8Array(rows * columns);
  forEachTile(rows, columns, (row, column) => {
    values[row * columns + column] = toInt8(weights[row * rowStep + column * columnStep]! * inverse[column]!);
  });
  return { values, scales };
}

/** The steps with which each column's largest weight is the largest code. Layouts as in quantizeColumns. */
export function columnScales(
  weights: Float32Array,
  rows: number,
  columns: number,
  transposed: boolean,
): Float32Array {
  const rowStep = transposed ? 1 : columns;
  const columnStep = transposed ? rows : 1;
  const peaks = new Float32Array(columns);
  forEachTile(rows, columns, (row, column) => {
    const magnitude = Math.abs(weights[row * rowStep + column * columnStep]!);
    if (magnitude > peaks[column]!) peaks[column] = magnitude;
  });
  return peaks.map(scaleFor);
}

/** Per-row int8: `table[r, d] ≈ values[r, d] · scales[r]`. */
export function quantizeRows(
  table: Float32Array,
  rows: number,
  dims: number,
): { values: Int8Array; scales: Float32Array } {
  const values = new Int8Array(rows * dims);
  const scales = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    let peak = 0;
    for (let i = row * dims; i < (row + 1) * dims; i++) peak = Math.max(peak, Math.abs(table[i]!));
    const scale = scaleFor(peak);
    scales[row] = scale;
    for (let i = row * dims; i < (row + 1) * dims; i++) values[i] = toInt8(table[i]! / scale);
  }
  return { values, scales };
}

/**
 * Unsigned 8-bit codes (128 is 0) in blocks of `block` values along the rows' dimension, as MatMulNBits reads them:
 * codes [columns, ceil(rows / block), block], the last block filled up with zeros; scales [columns, ceil(rows / block)].
 */
export function quantizeBlocks(
  weights: Float32Array,
  rows: number,
  columns: number,
  transposed: boolean,
  block: number,
): { values: Uint8Array; scales: Float32Array } {
  const rowStep = transposed ? 1 : columns;
  const columnStep = transposed ? rows : 1;
  const blocks = Math.ceil(rows / block);
  const values = new Uint8Array(columns * blocks * block).fill(128);
  const scales = new Float32Array(columns * blocks);
  for (let column = 0; column < columns; column++)
    for (let index = 0; index < blocks; index++) {
      const first = index * block;
      const end = Math.min(first + block, rows);
      let peak = 0;
      for (let row = first; row < end; row++)
        peak = Math.max(peak, Math.abs(weights[row * rowStep + column * columnStep]!));
      const at = column * blocks + index;
      const scale = scaleFor(peak);
      scales[at] = scale;
      for (let row = first; row < end; row++)
        values[at * block + row - first] =
          toInt8(weights[row * rowStep + column * columnStep]! / scale) + 128;
    }
  return { values, scales };
}

/** Walks a matrix in tiles small enough for the cache in either layout. */
function forEachTile(rows: number, columns: number, visit: (row: number, column: number) => void): void {
  const tile = 64;
  for (let top = 0; top < rows; top += tile)
    for (let left = 0; left < columns; left += tile) {
      const bottom = Math.min(top + tile, rows);
      const right = Math.min(left + tile, columns);
      for (let row = top; row < bottom; row++)
        for (let column = left; column < right; column++) visit(row, column);
    }
}

/** Zeros, and values too small for an fp32 scale, round to zero under a scale of 1. */
function scaleFor(peak: number): number {
  return Math.fround(peak / INT8_MAX) || 1;
}

/** The nearest code; the largest for what is beyond. */
export function toInt8(value: number): number {
  return Math.max(-INT8_MAX, Math.min(INT8_MAX, Math.round(value)));
}
