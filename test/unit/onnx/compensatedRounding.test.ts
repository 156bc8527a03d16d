import assert from 'node:assert/strict';
import test from 'node:test';
import {
  type ChannelMoments,
  momentBlock,
  quantizeColumnsCompensated,
  scaleMoments,
} from '@trivec/core/onnx/compensatedRounding';
import { quantizeColumns, type RoundedColumns } from '@trivec/core/onnx/weightRounding';
import fc from 'fast-check';

const [ROWS, COLUMNS, TOKENS] = [24, 150, 200];

/** Uniform numbers in [-1, 1], the same for the same seed. */
function randoms(seed: number, count: number): Float32Array {
  let state = seed >>> 0 || 1;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** Tokens [TOKENS, ROWS] whose channels are mixed from a third as many causes. */
function activations(seed: number): Float32Array {
  const [causes, shares] = [randoms(seed, TOKENS * 8), randoms(seed + 1, ROWS * 8)];
  const noise = randoms(seed + 2, TOKENS * ROWS);
  return noise.map((value, at) => {
    const [token, row] = [Math.floor(at / ROWS), at % ROWS];
    let sum = 0.1 * value;
    for (let i = 0; i < 8; i++) sum += causes[token * 8 + i]! * shares[row * 8 + i]!;
    return sum;
  });
}

function momentsOf(x: Float32Array): ChannelMoments {
  const block = momentBlock(ROWS);
  const values = new Float32Array(ROWS * block);
  for (let token = 0; token < TOKENS; token++)
    for (let i = 0; i < ROWS; i++)
      for (let j = 0; j < ROWS; j++)
        values[i * block + j] = values[i * block + j]! + x[token * ROWS + i]! * x[token * ROWS + j]!;
  return { block, values };
}

/** Mean square of what rounding changes in the products of the tokens. */
function productError(x: Float32Array, weights: Float32Array, { values, scales }: RoundedColumns): number {
  let total = 0;
  for (let token = 0; token < TOKENS; token++)
    for (let column = 0; column < COLUMNS; column++) {
      let error = 0;
      for (let row = 0; row < ROWS; row++) {
        const at = row * COLUMNS + column;
        error += x[token * ROWS + row]! * (weights[at]! - values[at]! * scales[column]!);
      }
      total += error ** 2;
    }
  return total / (TOKENS * COLUMNS);
}

const seeds = fc.integer({ min: 1, max: 2 ** 31 - 1 });

test('products of channels that move together keep more, with the same steps', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const [x, weights] = [activations(seed), randoms(seed + 3, ROWS * COLUMNS)];
      const plain = quantizeColumns(weights, ROWS, COLUMNS, false);
      const compensated = quantizeColumnsCompensated(weights, ROWS, COLUMNS, false, momentsOf(x));
      assert.deepEqual(compensated.scales, plain.scales);
      const [before, after] = [productError(x, weights, plain), productError(x, weights, compensated)];
      assert.ok(after < before * 0.6, `${after} instead of ${before}`);
    }),
    { numRuns: 15 },
  );
});

test('a weight rounds alike in either layout', () => {
  fc.assert(
    fc.property(seeds, (seed) => {
      const [moments, weights] = [momentsOf(activations(seed)), randoms(seed + 3, ROWS * COLUMNS)];
      const turned = weights.map((_, at) => weights[(at % ROWS) * COLUMNS + Math.floor(at / ROWS)]!);
      assert.deepEqual(
        quantizeColumnsCompensated(turned, ROWS, COLUMNS, true, moments),
        quantizeColumnsCompensated(weights, ROWS, COLUMNS, false, moments),
      );
    }),
    { numRuns: 10 },
  );
});

test('channels that move alone, that no text used or that overflowed round as without samples', () => {
  const weights = randoms(5, ROWS * COLUMNS);
  const plain = quantizeColumns(weights, ROWS, COLUMNS, false);
  const moments = (of: (row: number, column: number) => number): ChannelMoments => ({
    block: ROWS,
    values: Float32Array.from({ length: ROWS * ROWS }, (_, at) => of(Math.floor(at / ROWS), at % ROWS)),
  });
  for (const known of [
    moments((row, column) => (row === column ? row + 1 : 0)),
    moments(() => 0),
    moments(() => Number.POSITIVE_INFINITY),
    moments(() => Number.NaN),
  ]) {
    const { values } = quantizeColumnsCompensated(weights, ROWS, COLUMNS, false, known);
    // Dividing instead of multiplying by the inverse may turn a value that is halfway between two codes.
    assert.ok(values.every((code, at) => Math.abs(code - plain.values[at]!) <= 1));
    assert.ok(values.filter((code, at) => code !== plain.values[at]).length < 5);
  }
});

test('a block is the largest divisor that is not too large', () => {
  for (const [channels, block] of [
    [32, 32],
    [312, 104],
    [384, 128],
    [1024, 128],
    [257, 1],
  ] as const)
    assert.equal(momentBlock(channels), block);
});

test('moments of scaled channels are those of the scaled values', () => {
  const x = activations(3);
  const shares = randoms(4, ROWS);
  const wanted = momentsOf(x.map((value, at) => value * shares[at % ROWS]!));
  scaleMoments(momentsOf(x), shares).values.forEach((value, at) => {
    assert.ok(Math.abs(value - wanted.values[at]!) < 1e-3, `${value} ${wanted.values[at]}`);
  });
});
