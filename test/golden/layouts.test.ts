import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { createEngine } from '@trivec/core/engine/engine';
import { TrivecError } from '@trivec/core/errors';
import { describeModelFolder } from '@trivec/core/models/folder';
import { decodeModel, encodeModel } from '@trivec/core/onnx/proto';
import { silentLogger } from '../support/stubDevice.ts';

const MODELS = fileURLToPath(new URL('./models', import.meta.url));
const CONFIG = {
  device: 'cpu',
  intraOpThreads: 1,
  intraOpSpinning: false,
  maxBatchTokens: 512,
  maxBulkBatchMs: 500,
};

/** Published repositories' file names and output names, over the finished (tiny-m3) or the raw heads (tiny-m3-raw). */
const LAYOUTS = [
  ['aapot and philipchung', 'tiny-m3', 'model.onnx', ['dense_vecs', 'sparse_vecs', 'colbert_vecs']],
  ['gpahal', 'tiny-m3', 'model_quantized.onnx', ['dense_vecs', 'sparse_vecs', 'colbert_vecs']],
  ['yuniko', 'tiny-m3', 'bge_m3_model.onnx', ['dense_embeddings', 'sparse_weights', 'colbert_vectors']],
  ['newtechstudio', 'tiny-m3-raw', 'model.onnx', ['dense', 'sparse', 'colbert']],
  [
    'yuniko over raw heads',
    'tiny-m3-raw',
    'onnx.onnx',
    ['dense_embeddings', 'sparse_weights', 'colbert_vectors'],
  ],
] as const;

for (const [layout, source, file, names] of LAYOUTS) {
  test(`the layout of ${layout} gives the reference's three outputs`, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'trivec-layout-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    await cp(join(MODELS, source), folder, { recursive: true });
    await rm(join(folder, 'model.onnx'));
    const renamed = await withOutputs(join(MODELS, source, 'model.onnx'), names);
    await writeFile(join(folder, file), renamed);

    const model = await describeModelFolder(folder);
    assert.deepEqual(
      [model.heads.dense?.output, model.heads.sparse?.output, model.heads.colbert?.output],
      [...names],
    );
    assert.equal(model.info.dtype, file.includes('quantized') ? 'int8-weights' : 'fp32');
    assert.equal(model.info.batchDependent, undefined);
    const engine = await createEngine({ model, config: CONFIG, logger: silentLogger });
    t.after(() => engine.close());
    const expected = JSON.parse(await readFile(join(MODELS, source, 'expected.json'), 'utf8')).slice(0, 12);
    const texts = await engine.encode(expected.map(({ text }: { text: string }) => text));
    const { vectors } = await engine.embed(texts, { outputs: ['dense', 'sparse', 'colbert'], lane: 'bulk' });
    for (const [i, { dense, sparse, colbert }] of expected.entries()) {
      const found = vectors[i]!;
      assert.ok(!(found instanceof TrivecError));
      near(found.dense!, dense);
      assert.deepEqual([...found.sparse!.indices], sparse.indices);
      near(found.sparse!.values, sparse.values);
      const { rows, dims, data } = found.colbert!;
      assert.deepEqual([rows, dims], [colbert.rows, colbert.dims]);
      for (const [row, values] of colbert.sample) near(data.subarray(row * dims, (row + 1) * dims), values);
    }
  });
}

async function withOutputs(file: string, names: readonly string[]): Promise<Uint8Array> {
  const model = decodeModel(await readFile(file));
  const old = model.graph.output.map(({ name }) => name);
  const rename = (name: string): string => names[old.indexOf(name)] ?? name;
  for (const output of model.graph.output) output.name = rename(output.name);
  for (const node of model.graph.node) {
    node.input = node.input.map(rename);
    node.output = node.output.map(rename);
  }
  return encodeModel(model);
}

function near(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  assert.equal(actual.length, expected.length);
  for (let i = 0; i < actual.length; i++) assert.ok(Math.abs(actual[i]! - expected[i]!) <= 1e-5);
}
