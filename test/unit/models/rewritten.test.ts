import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { describeModelFolder } from '@trivec/core/models/folder';
import { BUILT_IN } from '@trivec/core/models/locate';
import { describeRewritten, rewriteModel } from '@trivec/core/models/rewritten';
import { quantizeModelFolder } from '@trivec/core/onnx/quantizedFolder';

test('a rewritten folder has the prompts of the catalog, else those of its files with the default among them', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'trivec-rewritten-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  const folder = join(root, 'source');
  await cp(fileURLToPath(new URL('../../golden/models/tiny-m3', import.meta.url)), folder, {
    recursive: true,
  });
  const prompts = { query: 'find: ', topic: 'sort: ' };
  await writeFile(
    join(folder, 'config_sentence_transformers.json'),
    JSON.stringify({ prompts, default_prompt_name: 'topic' }),
  );
  const write = (stated: { prompts?: Record<string, string> }) =>
    rewriteModel({ folder, stated }, 'fp16', join(root, 'out'));
  const { info } = (await write({})).model;
  assert.deepEqual([info.prompts, info.defaultPromptName], [prompts, 'topic']);
  const stated = (await write({ prompts: { query: 'ask: ' } })).model.info;
  assert.deepEqual([stated.prompts, stated.defaultPromptName], [{ query: 'ask: ' }, undefined]);
});

test('machines whose processors round a few codes differently make the same model, other sources another', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'trivec-recipe-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  const source = join(root, 'source');
  await cp(fileURLToPath(new URL('../../golden/models/tiny-m3', import.meta.url)), source, {
    recursive: true,
  });
  const made = async (name: string, dtype: 'int8' | 'int8-precise') =>
    (await rewriteModel({ folder: source, stated: {} }, dtype, join(root, name))).model;
  const here = await made('here', 'int8');
  const there = await made('there', 'int8');
  const data = `${there.graphFile}_data`;
  const bytes = await readFile(data);
  bytes[bytes.length >> 1]! ^= 1;
  await writeFile(data, bytes);
  const fingerprint = async (name: string) => (await describeModelFolder(join(root, name))).info.fingerprint;
  assert.equal(await fingerprint('there'), here.info.fingerprint);
  assert.notEqual((await made('precise', 'int8-precise')).info.fingerprint, here.info.fingerprint);

  const original = await describeModelFolder(source);
  const graph = await readFile(original.graphFile);
  await writeFile(original.graphFile, Buffer.concat([graph, Buffer.from([0x12, 1, 0x78])]));
  assert.notEqual((await made('other', 'int8')).info.fingerprint, here.info.fingerprint);
});

test('only int8 depends on the sample texts', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'trivec-samples-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  const source = join(root, 'source');
  await cp(fileURLToPath(new URL('../../golden/models/tiny-m3', import.meta.url)), source, {
    recursive: true,
  });
  for (const dtype of ['int8-precise', 'int8'] as const) {
    const target = join(root, dtype);
    await rewriteModel({ folder: source }, dtype, target);
    const { reused } = await quantizeModelFolder(source, 'model.onnx', target, { dtype });
    assert.equal(reused, dtype === 'int8-precise', dtype);
  }
});

test('a decoder is fitted to the sample texts with its positions and a past of no tokens', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'trivec-decoder-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  const folder = fileURLToPath(new URL('../../golden/models/tiny-qwen3', import.meta.url));
  const { report } = await rewriteModel({ folder }, 'int8', join(root, 'int8'));
  assert.equal(report.matrices, 14, 'seven of each layer');
});

test('where nothing can be written beside a model, the data folder keeps the rewritten one', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'trivec-readonly-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  const folder = join(root, 'tiny-m3');
  await cp(fileURLToPath(new URL('../../golden/models/tiny-m3', import.meta.url)), folder, {
    recursive: true,
  });
  // No lock can be taken there, as in a folder that is mounted read-only (which root would not notice).
  await mkdir(join(folder, '.trivec-int8.lock'));
  const described = () =>
    describeRewritten(folder, 'int8', {}, { dataDir: join(root, 'data') }, { info: () => {} });
  const first = await described();
  assert.equal(dirname(first.folder), join(root, 'data', 'rewritten'));
  const { name, description } = (await describeModelFolder(folder)).info;
  assert.deepEqual([first.info.name, first.info.description], [name, description]);
  const { mtimeMs } = await stat(first.graphFile);
  const second = await described();
  assert.deepEqual([second.folder, (await stat(second.graphFile)).mtimeMs], [first.folder, mtimeMs]);

  // One that came with the model is taken as it is, without a lock.
  await rename(first.folder, join(folder, '.trivec-int8'));
  const third = await described();
  assert.equal(third.folder, join(folder, '.trivec-int8'));
  assert.equal(third.info.fingerprint, first.info.fingerprint);
});

test('a model with nothing to round is refused before a line that promises minutes', async (t) => {
  const dataDir = await mkdtemp(join(tmpdir(), 'trivec-refused-'));
  t.after(() => rm(dataDir, { recursive: true, force: true }));
  const lines: string[] = [];
  const logger = { info: (_fields: object, message: string) => lines.push(message) };
  await assert.rejects(
    describeRewritten(BUILT_IN['trivec-mini']!, 'int8', {}, { dataDir }, logger as never),
    {
      code: 'invalid_model',
      message: /nothing to quantise.*without MODEL_DTYPE/,
    },
  );
  assert.deepEqual(lines, []);
});
