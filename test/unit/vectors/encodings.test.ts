import assert from 'node:assert/strict';
import test from 'node:test';
import { toBase64, toBinary, toInt8, toUbinary, toUint8 } from '@trivec/core/vectors/encodings';
import fc from 'fast-check';

const vectors = fc
  .array(fc.float({ min: -1, max: 1, noNaN: true }), { minLength: 1, maxLength: 70 })
  .map((values) => Float32Array.from(values));

test('binary is what numpy.packbits(x > 0) gives, less 128 where signed', () => {
  const vector = Float32Array.from([0.5, -0.5, 0, 0.1, -0.1, 0.2, 0.3, -1, 1, -1]);
  assert.deepEqual([...toUbinary(vector)], [0b10010110, 0b10000000]);
  assert.deepEqual([...toBinary(vector)], [0b10010110 - 128, 0]);
});

test('int8 keeps each value within half a step of its scale, the greatest at 127', () => {
  fc.assert(
    fc.property(vectors, (vector) => {
      const { values, scale } = toInt8(vector);
      const unsigned = toUint8(vector);
      assert.equal(unsigned.scale, scale);
      const greatest = Math.max(...vector.map(Math.abs));
      assert.equal(Math.max(...values.map(Math.abs)), greatest === 0 ? 0 : 127);
      for (const [i, x] of vector.entries()) {
        assert.ok(Math.abs(x - scale * (values[i] ?? 0)) <= scale / 2 + 1e-9);
        assert.equal(unsigned.values[i], (values[i] ?? 0) + 128);
      }
    }),
  );
});

test('bits and base64 of a view read the view, not the memory around it', () => {
  fc.assert(
    fc.property(vectors, (vector) => {
      const around = new Float32Array(vector.length + 2).fill(9);
      around.set(vector, 1);
      const view = around.subarray(1, 1 + vector.length);
      const bytes = Buffer.from(toBase64(view), 'base64');
      assert.equal(bytes.length, vector.length * 4);
      for (const [i, x] of vector.entries()) assert.ok(Object.is(bytes.readFloatLE(i * 4), x));
      const bits = toUbinary(view);
      for (const [i, x] of vector.entries())
        assert.equal(((bits[i >> 3] ?? 0) >> (7 - (i & 7))) & 1, x > 0 ? 1 : 0);
    }),
  );
});
