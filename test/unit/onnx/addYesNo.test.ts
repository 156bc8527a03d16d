import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { addYesNo } from '@trivec/core/onnx/addYesNo';
import {
  DataType,
  decodeModel,
  encodeModel,
  floatTensor,
  makeNode,
  makeValueInfo,
} from '@trivec/core/onnx/proto';
import { InferenceSession, Tensor } from 'onnxruntime-node';

const VOCABULARY = 8;
const [YES, NO] = [5, 6];

test('a product whose columns are scaled by what the activation says is cut, and judges alike', async () => {
  const model = decodeModel(readFileSync(new URL('../../golden/onnx/backbone17.onnx', import.meta.url)));
  const floats = (count: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(i + 1));
  const wide = ['batch_size', 'sequence_length', VOCABULARY];
  Object.assign(model.graph, {
    input: [
      makeValueInfo('hidden', DataType.FLOAT, ['batch_size', 'sequence_length', 3]),
      makeValueInfo('step', DataType.FLOAT, [1]),
    ],
    initializer: [
      floatTensor('weight', [3, VOCABULARY], floats(3 * VOCABULARY)),
      floatTensor('column_scales', [VOCABULARY], floats(VOCABULARY)),
    ],
    node: [
      makeNode('MatMul', ['hidden', 'weight'], ['product']),
      makeNode('Mul', ['step', 'column_scales'], ['scales']),
      makeNode('Mul', ['product', 'scales'], ['logits']),
    ],
    output: [makeValueInfo('logits', DataType.FLOAT, wide)],
    valueInfo: [],
  });
  const bytes = encodeModel(model);
  const feeds = {
    hidden: new Tensor('float32', floats(6), [1, 2, 3]),
    step: new Tensor('float32', [0.5], [1]),
  };
  const run = async (graph: Uint8Array) => {
    const session = await InferenceSession.create(graph, { logSeverityLevel: 3 });
    try {
      const [output] = Object.values(await session.run(feeds));
      return [...(output!.data as Float32Array)];
    } finally {
      await session.release();
    }
  };
  const logits = await run(bytes);
  const cut = addYesNo(bytes, { logits: 'logits', yes: YES, no: NO });
  assert.equal(cut.isCut, true);
  const found = await run(cut.bytes);
  const expected = [0, 1].map(
    (token) => logits[token * VOCABULARY + YES]! - logits[token * VOCABULARY + NO]!,
  );
  assert.equal(found.length, expected.length);
  for (const [i, value] of found.entries()) assert.ok(Math.abs(value - expected[i]!) < 1e-6);
});
