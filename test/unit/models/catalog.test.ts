import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { findInCatalog, readCatalog } from '@trivec/core/models/catalog';
import { chooseGraph, companionsOf } from '@trivec/core/models/graphFile';

async function modelsFile(t: TestContext, content: unknown): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'trivec-catalog-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'models.json');
  await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content));
  return file;
}

test('the built-in catalog has the models of the field, found by their whole or their last name', async () => {
  const catalog = await readCatalog();
  for (const name of ['BAAI/bge-m3', 'Qwen/Qwen3-Embedding-0.6B', 'cross-encoder/ms-marco-MiniLM-L-6-v2']) {
    const entry = catalog.get(name);
    assert.ok(entry?.license && entry.verifiedWith && entry.description && entry.maxTokens, name);
    assert.equal(findInCatalog(catalog, name.split('/')[1]!), entry);
  }
  assert.equal(findInCatalog(catalog, 'someone/bge-m3'), undefined);
});

test('a user’s entries are added, replace those of the same name, and see folders from their file', async (t) => {
  const file = await modelsFile(t, {
    models: [
      { name: 'mine', kind: 'embedding', folder: 'weights/mine', pooling: 'mean' },
      { name: 'BAAI/bge-m3', kind: 'embedding', repo: 'someone/bge-m3-onnx', files: { fp16: 'half.onnx' } },
    ],
  });
  const catalog = await readCatalog(file);
  assert.equal(catalog.get('mine')?.folder, join(file, '..', 'weights', 'mine'));
  assert.deepEqual(
    [catalog.get('BAAI/bge-m3')?.repo, catalog.get('BAAI/bge-m3')?.source],
    ['someone/bge-m3-onnx', 'user'],
  );
  assert.ok(catalog.size > 15);
});

test('licence is license spelt another way; of models with the same last name the first is meant', async (t) => {
  const entry = { name: 'mine', kind: 'embedding', folder: 'm', licence: 'MIT' };
  const catalog = await readCatalog(await modelsFile(t, { models: [entry] }));
  assert.equal(catalog.get('mine')?.license, 'MIT');
  assert.equal(findInCatalog(catalog, 'bge-m3')?.name, 'BAAI/bge-m3');
});

test('a mistake in MODELS_FILE is named with its entry and field', async (t) => {
  const good = { name: 'a', kind: 'embedding', repo: 'a/b' };
  const cases: [content: unknown, message: RegExp][] = [
    ['{"models": [', /models\.json is not JSON/],
    [{}, /expected \{"models": \[ … \]\}/],
    [{ models: [good, 7] }, /models\[1\] must be an object/],
    [{ models: [{ ...good, pool: 'cls' }] }, /models\[0\]\.pool is not a field; there is name, kind/],
    [{ models: [{ ...good, pooling: 'max' }] }, /models\[0\]\.pooling/],
    [{ models: [{ ...good, kind: undefined }] }, /models\[0\].*kind/],
    [{ models: [{ ...good, files: { fp32: '../../etc/model.onnx' } }] }, /models\[0\]\.files\.fp32/],
    [{ models: [{ ...good, folder: 'x' }] }, /models\[0\] must have either repo or folder/],
    [{ models: [{ name: 'a', kind: 'embedding' }] }, /models\[0\] must have either repo or folder/],
    [{ models: [good, good] }, /models\[1\]\.name: a is there twice/],
    [{ models: [{ ...good, pairPrompt: 'qwen3' }] }, /pairPrompt is for rerankers/],
  ];
  for (const [content, message] of cases)
    await assert.rejects(readCatalog(await modelsFile(t, content)), { code: 'invalid_config', message });
  await assert.rejects(readCatalog('/nowhere/models.json'), { message: /cannot be read/ });
});

test('the graph is chosen by precision, by the catalog’s word, or because it is the only one', () => {
  const xenova = ['config.json', 'onnx/model.onnx', 'onnx/model_fp16.onnx', 'onnx/model_quantized.onnx'];
  const choose = (paths: string[], dtype?: 'fp32' | 'fp16' | 'int8-dynamic', file?: string) =>
    chooseGraph(paths, { dtype, file }, 'it');
  assert.equal(choose(xenova), 'onnx/model.onnx');
  assert.equal(choose(xenova, 'fp16'), 'onnx/model_fp16.onnx');
  assert.equal(choose(xenova, 'int8-dynamic'), 'onnx/model_quantized.onnx');
  assert.equal(choose(['model_quantized.onnx']), 'model_quantized.onnx');
  assert.equal(choose(['bge_m3_model.onnx'], 'fp32'), 'bge_m3_model.onnx');
  assert.equal(choose(['bge_m3_model.onnx', 'bge_m3_tokenizer.onnx']), 'bge_m3_model.onnx');
  assert.equal(choose(['deep/in/it.onnx'], 'fp32', 'deep/in/it.onnx'), 'deep/in/it.onnx');
  const code = 'invalid_model';
  assert.throws(() => choose(['model_quantized.onnx'], 'fp32'), {
    code,
    message: /named as fp32.*model_quantized/,
  });
  assert.throws(() => choose(['a.onnx', 'b.onnx']), {
    code,
    message: /no model\.onnx; it holds a\.onnx, b\.onnx/,
  });
  assert.throws(() => choose(['config.json', 'model.safetensors']), {
    code,
    message: /optimum-cli export onnx/,
  });
  assert.throws(() => choose(xenova, 'fp32', 'other.onnx'), { code, message: /no other\.onnx/ });
});

test('with the graph go its settings, tokenizer, pooling and heads, and nothing else', () => {
  const paths = [
    'README.md',
    'config.json',
    'onnx/tokenizer.json',
    'onnx/model.onnx',
    'onnx/model_fp16.onnx',
  ];
  assert.deepEqual(
    companionsOf(
      [...paths, 'colbert_linear.pt', '1_Pooling/config.json', 'other/config.json'],
      'onnx/model.onnx',
    ),
    ['1_Pooling/config.json', 'colbert_linear.pt', 'config.json', 'onnx/tokenizer.json'],
  );
});
