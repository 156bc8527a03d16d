import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { ActivationKinds, GELU_MIN } from '@trivec/core/onnx/activationKinds';
import { decodeModel, floatTensor, makeNode } from '@trivec/core/onnx/proto';
import { findWeightProducts } from '@trivec/core/onnx/weightProducts';

const GOLDEN = new URL('../../golden/onnx/', import.meta.url);
const graphOf = (name: string) => decodeModel(readFileSync(new URL(name, GOLDEN))).graph;

test('of the six products of a layer the third makes values and the last takes a GELU', () => {
  for (const name of ['backbone11.onnx', 'backbone17.onnx', 'backbone18.onnx']) {
    const graph = graphOf(name);
    const kinds = new ActivationKinds(graph);
    const products = findWeightProducts(graph);
    const of = (test: (product: (typeof products)[number]) => boolean) =>
      products.flatMap((product, i) => (test(product) ? [i] : []));
    assert.deepEqual(
      of(({ activation }) => kinds.isGelu(activation)),
      [5, 11],
      name,
    );
    assert.equal(of(({ node }) => kinds.isValueProjection(node)).length, 2, name);
    assert.deepEqual(
      of(({ node }) => kinds.isValueProjection(node)).map((i) => i % 6 < 3),
      [true, true],
      name,
    );
  }
});

test('only the exact form counts as a GELU: another factor could go below its minimum', () => {
  const forms: [half: number, root: number, one: number, isGelu: boolean][] = [
    [0.5, Math.SQRT2, 1, true],
    [1, Math.SQRT2, 1, false],
    [0.5, 1, 1, false],
    [0.5, Math.SQRT2, 0, false],
  ];
  for (const [half, root, one, isGelu] of forms) {
    const graph = graphOf('backbone17.onnx');
    const scalars = { half, root, one };
    for (const [name, value] of Object.entries(scalars))
      graph.initializer.push(floatTensor(name, [], Float32Array.of(value)));
    graph.node.push(
      makeNode('Div', ['x', 'root'], ['scaled']),
      makeNode('Erf', ['scaled'], ['error']),
      makeNode('Add', ['error', 'one'], ['sum']),
      makeNode('Mul', ['x', 'sum'], ['product']),
      makeNode('Mul', ['product', 'half'], ['y']),
    );
    assert.equal(new ActivationKinds(graph).isGelu('y'), isGelu, JSON.stringify(scalars));
  }
});

test('no GELU value lies below the bound', () => {
  // erf by Abramowitz and Stegun 7.1.26, accurate to 1.5e-7.
  const erf = (x: number) => {
    const t = 1 / (1 + 0.3275911 * Math.abs(x));
    const poly =
      t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return Math.sign(x) * (1 - poly * Math.exp(-x * x));
  };
  const tanhForm = (x: number) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  for (let x = -5; x < 5; x += 0.001) {
    assert.ok((x / 2) * (1 + erf(x / Math.SQRT2)) > GELU_MIN);
    assert.ok(tanhForm(x) > GELU_MIN);
  }
});
