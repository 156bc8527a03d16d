import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { addHeads } from '@trivec/core/onnx/addHeads';
import { readM3Heads } from '@trivec/core/onnx/m3Heads';
import { decodeModel, floatTensor, makeNode } from '@trivec/core/onnx/proto';
import { findVocabularyLookup, findWeightProducts } from '@trivec/core/onnx/weightProducts';

const GOLDEN = new URL('../../golden/onnx/', import.meta.url);
const bytes = (name: string) => readFileSync(new URL(name, GOLDEN));

test('the products of both layers are found, six each, in every operator set', () => {
  for (const name of ['backbone11.onnx', 'backbone17.onnx', 'backbone18.onnx', 'external/model.onnx']) {
    const products = findWeightProducts(decodeModel(bytes(name)).graph);
    assert.deepEqual(
      products.map(({ inDims, outDims }) => [inDims, outDims]),
      Array(2)
        .fill([
          [32, 32],
          [32, 32],
          [32, 32],
          [32, 32],
          [32, 64],
          [64, 32],
        ])
        .flat(),
      name,
    );
    assert.equal(
      new Set(products.map(({ activation }) => activation)).size,
      8,
      'q, k and v share one activation',
    );
  }
});

test('heads after the last layer normalisation are left alone', async () => {
  const heads = await readM3Heads(new URL('.', GOLDEN).pathname);
  const { graph } = decodeModel(addHeads(bytes('backbone17.onnx'), heads).bytes);
  assert.equal(findWeightProducts(graph).length, 12);
});

test('a transposed weight and a plain Gemm are products; a scaled Gemm is not', () => {
  const model = decodeModel(bytes('backbone17.onnx'));
  const { graph } = model;
  const index = graph.node.indexOf(findWeightProducts(graph)[0]!.node);
  const [activation, weight] = graph.node[index]!.input as [string, string];
  const output = graph.node[index]!.output[0]!;
  const set = (...nodes: typeof graph.node) => graph.node.splice(index, 1, ...nodes);

  set(
    makeNode('Transpose', [weight], ['turned'], { perm: [1n, 0n] }),
    makeNode('MatMul', [activation, 'turned'], [output]),
  );
  const turned = findWeightProducts(graph).find((product) => product.output === output)!;
  assert.equal(turned.transposed, true);
  graph.node.splice(index, 1);

  graph.initializer.push(floatTensor('bias', [32], new Float32Array(32)));
  set(makeNode('Gemm', [activation, weight, 'bias'], [output], { transB: 1n }));
  const gemm = findWeightProducts(graph).find((product) => product.output === output)!;
  assert.deepEqual([gemm.transposed, gemm.bias], [true, 'bias']);
  set(makeNode('Gemm', [activation, weight, 'bias'], [output], { alpha: 0.5 }));
  assert.equal(
    findWeightProducts(graph).some((product) => product.output === output),
    false,
  );
});

test('the vocabulary table is the one that input_ids looks up', () => {
  for (const name of ['backbone11.onnx', 'backbone17.onnx']) {
    const lookup = findVocabularyLookup(decodeModel(bytes(name)).graph);
    assert.deepEqual([lookup?.rows, lookup?.dims], [64, 32]);
  }
});
