import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, symlink, truncate, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { addHeads } from '@trivec/core/onnx/addHeads';
import { openExternalFile } from '@trivec/core/onnx/externalData';
import { inspectGraph, inspectModelFile } from '@trivec/core/onnx/inspect';
import { readM3Heads } from '@trivec/core/onnx/m3Heads';
import { decodeModel, encodeModel, type Model, makeNode, makeValueInfo } from '@trivec/core/onnx/proto';

const GOLDEN = fileURLToPath(new URL('../../golden/onnx/', import.meta.url));
const backbone = readFileSync(`${GOLDEN}backbone17.onnx`);
const heads = await readM3Heads(GOLDEN);

const refused = (pattern: RegExp) => (error: Error & { code?: string }) =>
  error.code === 'invalid_model' && pattern.test(error.message);

async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'onnx-'));
  t.after(() => rm(folder, { recursive: true }));
  return folder;
}

test('a graph is described as its exporter named it', () => {
  const graph = inspectGraph(backbone);
  assert.deepEqual(graph.opsets, { '': 17 });
  assert.deepEqual(graph.inputs, [
    { name: 'input_ids', dtype: 'int64', shape: ['batch_size', 'sequence_length'] },
    { name: 'attention_mask', dtype: 'int64', shape: ['batch_size', 'sequence_length'] },
  ]);
  assert.deepEqual(graph.outputs[0], {
    name: 'token_embeddings',
    dtype: 'float',
    shape: ['batch_size', 'sequence_length', 32],
  });
  assert.deepEqual(graph.vocabulary, { rows: 64, dims: 32 });
  assert.equal(graph.operators.Softmax, 2);
  assert.deepEqual(graph.externalFiles, []);
});

test('a decoded graph is encoded to a file that says the same', () => {
  assert.deepEqual(decodeModel(encodeModel(decodeModel(backbone))), decodeModel(backbone));
});

test('truncated and foreign files are refused', () => {
  for (const bytes of [
    new Uint8Array(),
    backbone.subarray(0, backbone.length - 1),
    backbone.subarray(0, 1000),
    Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 724923\n'),
    Buffer.from('<!doctype html><title>404</title>'),
  ])
    assert.throws(() => inspectGraph(bytes, 'model.onnx'), refused(/model\.onnx/));
});

test('heads take free names and leave the model bytes as they were', () => {
  const model = decodeModel(backbone);
  model.graph.node.push(makeNode('Identity', ['token_embeddings'], ['dense_vecs']));
  model.graph.node.push(makeNode('Identity', ['token_embeddings'], ['trivec_cls']));
  const bytes = encodeModel(model);
  const added = addHeads(bytes, heads);
  assert.deepEqual(added.outputs, { dense: 'dense_vecs_1', sparse: 'sparse_vecs', colbert: 'colbert_vecs' });
  assert.deepEqual(added.bytes.subarray(0, bytes.length), bytes);
  const all = decodeModel(added.bytes).graph.node.flatMap(({ output }) => output);
  assert.equal(new Set(all).size, all.length, 'a value is computed twice');
});

test('heads are refused where they do not fit', () => {
  const changes: [(model: Model) => unknown, RegExp][] = [
    [
      (model) => Object.assign(model.opsetImport[0]!, { version: 10n }),
      /operator set 11 or later, the model has 10/,
    ],
    [
      (model) => Object.assign(model.graph.output[0]!, { name: 'logits' }),
      /the model has logits, sentence_embedding/,
    ],
    [(model) => Object.assign(model.graph.input[1]!, { name: 'mask' }), /attention_mask/],
    [
      (model) => model.graph.output.splice(0, 1, makeValueInfo('token_embeddings', 1, ['b', 's', 48])),
      /heads take 32 dimensions, the model's token_embeddings has 48/,
    ],
  ];
  for (const [change, pattern] of changes) {
    const model = decodeModel(backbone);
    change(model);
    assert.throws(() => addHeads(encodeModel(model), heads), refused(pattern));
  }
});

test('data files are looked for in the model folder only', async (t) => {
  const root = await temporaryFolder(t);
  const folder = join(root, 'model');
  await cp(`${GOLDEN}external`, folder, { recursive: true });
  const file = join(folder, 'model.onnx');
  const inspection = await inspectModelFile(file);
  assert.deepEqual(inspection.externalFiles.map(({ location, bytes }) => [location, bytes]).sort(), [
    ['Constant_26_attr__value', 272],
    ['model.onnx_data', 78336],
  ]);

  await truncate(join(folder, 'model.onnx_data'), 78000);
  await assert.rejects(
    inspectModelFile(file),
    refused(/model\.onnx_data is truncated: 78336 bytes expected/),
  );
  await unlink(join(folder, 'model.onnx_data'));
  await assert.rejects(inspectModelFile(file), refused(/model\.onnx_data is missing/));
  await cp(`${GOLDEN}external/model.onnx_data`, join(root, 'elsewhere'));
  await symlink(join(root, 'elsewhere'), join(folder, 'model.onnx_data'));
  await assert.rejects(inspectModelFile(file), refused(/outside the model's folder/));
});

test('a location that climbs out of the folder is refused', async (t) => {
  const root = await temporaryFolder(t);
  await mkdir(join(root, 'model'));
  await cp(`${GOLDEN}external/model.onnx_data`, join(root, 'data'));
  for (const location of ['../data', join(root, 'data'), 'x/../../data', '.'])
    await assert.rejects(openExternalFile(join(root, 'model'), location), refused(/outside|missing/));
});

test('a snapshot in the hub cache may link into the blobs of its own repository', async (t) => {
  const root = await temporaryFolder(t);
  const snapshot = join(root, 'models--org--name', 'snapshots', 'abc', 'onnx');
  const blobs = join(root, 'models--org--name', 'blobs');
  await mkdir(snapshot, { recursive: true });
  await cp(`${GOLDEN}external`, blobs, { recursive: true });
  for (const name of ['model.onnx', 'model.onnx_data', 'Constant_26_attr__value'])
    await symlink(join('../../../blobs', name), join(snapshot, name));
  assert.equal((await inspectModelFile(join(snapshot, 'model.onnx'))).externalFiles.length, 2);

  await cp(blobs, join(root, 'models--other--name', 'blobs'), { recursive: true });
  await unlink(join(snapshot, 'model.onnx_data'));
  await symlink('../../../../models--other--name/blobs/model.onnx_data', join(snapshot, 'model.onnx_data'));
  await assert.rejects(inspectModelFile(join(snapshot, 'model.onnx')), refused(/outside the model's folder/));
});
