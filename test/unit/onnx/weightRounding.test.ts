import assert from 'node:assert/strict';
import test from 'node:test';
import { quantizeBlocks, quantizeColumns, quantizeRows } from '@trivec/core/onnx/weightRounding';
import fc from 'fast-check';

const matrix = fc
  .tuple(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 70 }))
  .chain(([rows, columns]) =>
    fc.record({
      rows: fc.constant(rows),
      columns: fc.constant(columns),
      values: fc.float32Array({
        minLength: rows * columns,
        maxLength: rows * columns,
        min: -1000,
        max: 1000,
        noNaN: true,
      }),
    }),
  );

function transpose(values: Float32Array, rows: number, columns: number): Float32Array {
  return values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);
}

test('a column rounds to within half a step, in either layout', () => {
  fc.assert(
    fc.property(matrix, ({ rows, columns, values }) => {
      const rounded = quantizeColumns(values, rows, columns, false);
      values.forEach((value, i) => {
        const scale = rounded.scales[i % columns]!;
        assert.ok(Math.abs(value - rounded.values[i]! * scale) <= scale * 0.5001 + 1e-6);
      });
      assert.deepEqual(quantizeColumns(transpose(values, rows, columns), rows, columns, true), rounded);
    }),
  );
});

test('a row of a table rounds to within half a step and keeps its zeros', () => {
  fc.assert(
    fc.property(matrix, ({ rows, columns, values }) => {
      const rounded = quantizeRows(values, rows, columns);
      values.forEach((value, i) => {
        const scale = rounded.scales[Math.floor(i / columns)]!;
        assert.ok(Math.abs(value - rounded.values[i]! * scale) <= scale * 0.5001 + 1e-6);
        if (value === 0) assert.equal(rounded.values[i], 0);
      });
    }),
  );
});

test('blocks are laid out column by column and filled up with zeros', () => {
  const { values, scales } = quantizeBlocks(Float32Array.of(1, -1, 3, 4, -5, 6), 3, 2, false, 2);
  // Columns [1, 3, -5] and [-1, 4, 6]; blocks of two rows.
  assert.deepEqual([...scales], [3 / 127, 5 / 127, 4 / 127, 6 / 127].map(Math.fround));
  assert.deepEqual(
    [...values],
    [42, 127, -127, 0, -32, 127, 127, 0].map((code) => code + 128),
  );
});
