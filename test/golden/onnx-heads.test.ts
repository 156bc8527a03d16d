import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { addHeads } from '@trivec/core/onnx/addHeads';
import { readM3Heads } from '@trivec/core/onnx/m3Heads';
import { InferenceSession, Tensor } from 'onnxruntime-node';

const FOLDER = fileURLToPath(new URL('onnx/', import.meta.url));
const TOLERANCE = 1e-5;

interface Expected {
  cases: {
    shape: [number, number];
    input_ids: number[];
    attention_mask: number[];
    dense: number[];
    sparse: number[];
    colbert: number[];
  }[];
  heads: Record<'sparse' | 'colbert', { weight: number[]; bias: number[] }>;
}
const expected: Expected = JSON.parse(readFileSync(`${FOLDER}expected.json`, 'utf8'));
const heads = await readM3Heads(FOLDER);

function assertClose(actual: ArrayLike<number>, wanted: readonly number[], what: string): void {
  assert.equal(actual.length, wanted.length, `${what}: length`);
  const worst = wanted.reduce((max, value, i) => Math.max(max, Math.abs(value - actual[i]!)), 0);
  assert.ok(worst <= TOLERANCE, `${what}: off by ${worst}`);
}

test('the torch files hold what torch saved', () => {
  for (const name of ['sparse', 'colbert'] as const) {
    assert.deepEqual([...heads[name].weight], expected.heads[name].weight);
    assert.deepEqual([...heads[name].bias], expected.heads[name].bias);
  }
});

for (const [file, folder] of [
  ['backbone11.onnx', FOLDER],
  ['backbone17.onnx', FOLDER],
  ['backbone18.onnx', FOLDER],
  ['external/model.onnx', `${FOLDER}external`],
] as const)
  test(`${file} with heads gives the reference's values, alone and padded`, async (t) => {
    const { bytes, outputs } = addHeads(readFileSync(`${FOLDER}${file}`), heads);
    const session = await InferenceSession.create(bytes, {
      extra: { session: { model_external_initializers_file_folder_path: folder } },
    });
    t.after(() => session.release());
    for (const { shape, input_ids, attention_mask, dense, sparse, colbert } of expected.cases) {
      const result = await session.run(
        {
          input_ids: new Tensor('int64', BigInt64Array.from(input_ids, BigInt), shape),
          attention_mask: new Tensor('int64', BigInt64Array.from(attention_mask, BigInt), shape),
        },
        Object.values(outputs),
      );
      const [batch, length] = shape;
      assert.deepEqual(result.dense_vecs!.dims, [batch, 32]);
      assert.deepEqual(result.sparse_vecs!.dims, [batch, length, 1]);
      assert.deepEqual(result.colbert_vecs!.dims, [batch, length - 1, 32]);
      assertClose(result.dense_vecs!.data as Float32Array, dense, 'dense');
      assertClose(result.sparse_vecs!.data as Float32Array, sparse, 'sparse');
      assertClose(result.colbert_vecs!.data as Float32Array, colbert, 'colbert');
    }
  });
