import assert from 'node:assert/strict';
import test from 'node:test';
import { findOutlierRows, takeRows } from '@trivec/core/onnx/outlierRows';
import fc from 'fast-check';

test('rows of about one size are no outliers, and never more than 16 are', () => {
  const layout = { inDims: 40, outDims: 3, transposed: false };
  const rowsOf = (size: (row: number) => number) =>
    Float32Array.from({ length: 120 }, (_, at) => (at % 3 === 1 ? -1 : 0.5) * size(Math.floor(at / 3)));
  assert.deepEqual(
    findOutlierRows(
      rowsOf(() => 1),
      layout,
    ),
    [],
  );
  assert.deepEqual(findOutlierRows(new Float32Array(120), layout), []);
  assert.deepEqual(
    findOutlierRows(
      rowsOf((row) => 1 + row / 20),
      layout,
    ),
    [],
    'up to three times the median',
  );
  assert.deepEqual(
    findOutlierRows(
      rowsOf((row) => (row === 7 || row === 3 ? 9 : 1)),
      layout,
    ),
    [3, 7],
  );
  const many = findOutlierRows(
    rowsOf((row) => (row < 18 ? 10 + row : 1)),
    layout,
  );
  assert.deepEqual(
    many,
    Array.from({ length: 16 }, (_, i) => i + 2),
    'the largest',
  );
});

test('what is taken out and what stays make up the weight, in either layout', () => {
  const layouts = fc.record({
    inDims: fc.integer({ min: 1, max: 9 }),
    outDims: fc.integer({ min: 1, max: 9 }),
    transposed: fc.boolean(),
  });
  fc.assert(
    fc.property(layouts, fc.infiniteStream(fc.boolean()), (layout, isTaken) => {
      const { inDims, outDims, transposed } = layout;
      const weight = Float32Array.from({ length: inDims * outDims }, (_, i) => i + 1);
      const before = weight.slice();
      const rows = Array.from({ length: inDims }, (_, row) => row).filter(() => isTaken.next().value);
      const taken = takeRows(weight, layout, rows);
      for (let row = 0; row < inDims; row++)
        for (let column = 0; column < outDims; column++) {
          const at = transposed ? column * inDims + row : row * outDims + column;
          const i = rows.indexOf(row);
          assert.equal(weight[at], i < 0 ? before[at] : 0);
          if (i >= 0) assert.equal(taken[i * outDims + column], before[at]);
        }
    }),
  );
});
