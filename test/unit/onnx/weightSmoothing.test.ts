import assert from 'node:assert/strict';
import test from 'node:test';
import { raiseRowPeaks, scaleRows, smoothingFactors } from '@trivec/core/onnx/weightSmoothing';
import fc from 'fast-check';

test('dividing a channel and multiplying its weights leaves the product as it was', () => {
  const rowsColumns = fc.tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 12 }));
  fc.assert(
    fc.property(rowsColumns, fc.boolean(), fc.nat(), ([inDims, outDims], transposed, seed) => {
      const layout = { inDims, outDims, transposed };
      const value = (i: number) => Math.sin(seed + i * 1.7) * (i % 5 === 0 ? 40 : 1);
      const weight = Float32Array.from({ length: inDims * outDims }, (_, i) => value(i));
      const x = Float32Array.from({ length: inDims }, (_, i) => value(i + 1000));
      const product = (row: Float32Array) =>
        Array.from({ length: outDims }, (_, out) =>
          row.reduce(
            (sum, each, i) => sum + each * weight[transposed ? out * inDims + i : i * outDims + out]!,
            0,
          ),
        );
      const before = product(x);

      const weightPeaks = new Float32Array(inDims);
      raiseRowPeaks(weightPeaks, weight, layout);
      const factors = smoothingFactors(x.map(Math.abs), weightPeaks);
      scaleRows(weight, layout, factors);
      const after = product(x.map((each, i) => each / factors[i]!));
      const size = x.reduce((sum, each) => sum + Math.abs(each), 0) * Math.max(...weightPeaks);
      after.forEach((each, i) => {
        assert.ok(Math.abs(each - before[i]!) <= 1e-5 * size);
      });

      // With α = 1/2 a channel and its weights end up with the same peak.
      const evened = new Float32Array(inDims);
      raiseRowPeaks(evened, weight, layout);
      evened.forEach((peak, i) => {
        const activation = Math.abs(x[i]!) / factors[i]!;
        if (weightPeaks[i]! > 0.01 && Math.abs(x[i]!) > 0.01)
          assert.ok(Math.abs(peak - activation) <= 1e-4 * peak);
      });
    }),
  );
});

test('channels that are never used get finite factors', () => {
  assert.ok([...smoothingFactors(Float32Array.of(0, 3), Float32Array.of(2, 0))].every(Number.isFinite));
  assert.deepEqual([...smoothingFactors(Float32Array.of(0), Float32Array.of(0))], [1]);
});
