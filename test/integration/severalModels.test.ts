import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadConfig } from '@trivec/core/config';
import { loadModels } from '@trivec/core/engine/loadModels';
import { createLogger } from '@trivec/core/telemetry/logger';
import { startStandalone } from '../../apps/standalone/src/server.ts';

const GOLDEN = fileURLToPath(new URL('../golden/models', import.meta.url));

/** The fixtures, and one whose graph is cut short. */
async function modelsDir(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'trivec-several-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (const name of ['tiny-m3', 'tiny-bert-mean', 'tiny-xlmr-reranker', 'broken'])
    await cp(join(GOLDEN, name === 'broken' ? 'tiny-m3-raw' : name), join(folder, name), { recursive: true });
  await writeFile(join(folder, 'broken', 'model.onnx'), 'cut short');
  return folder;
}

async function configFor(t: TestContext, options: Record<string, string>) {
  const dir = await modelsDir(t);
  return loadConfig({
    MODELS_DIR: dir,
    DATA_DIR: join(dir, 'data'),
    PORT: '0',
    DEVICE: 'cpu',
    INTRA_OP_THREADS: '1',
    LOG_LEVEL: 'silent',
    ...options,
  });
}

test('requests choose among the models of one server; a broken one is reported and takes none down', async (t) => {
  const config = await configFor(t, {
    MODEL: 'tiny-m3',
    MODELS: 'tiny-bert-mean,broken,tiny-xlmr-reranker',
  });
  const server = await startStandalone(config, createLogger(config));
  try {
    const post = async (path: string, body: object) => {
      const response = await fetch(`${server.url}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      return { status: response.status, body: JSON.stringify(await response.json()) };
    };
    for (const model of [undefined, 'tiny-m3', 'tiny-bert-mean', 'tiny-m3'])
      assert.equal((await post('/embeddings', { input: ['a heron'], model })).status, 200, String(model));
    const sparse = { input: ['a heron'], outputs: ['sparse'] };
    assert.equal((await post('/embeddings', sparse)).status, 200);
    const refused = await post('/embeddings', { ...sparse, model: 'tiny-bert-mean' });
    assert.equal(refused.status, 400);
    assert.match(refused.body, /unknown_output/);
    const broken = await post('/embeddings', { input: ['a'], model: 'broken' });
    assert.equal(broken.status, 503);
    assert.match(broken.body, /could not be loaded \(invalid_model\)/);
    assert.equal((await post('/embeddings', { input: ['a'], model: 'other' })).status, 404);
    const ready = (await (await fetch(`${server.url}/health/ready`)).json()) as object;
    assert.deepEqual(
      { ...ready },
      {
        status: 'ready',
        model: 'tiny-m3',
        workers: 1,
        failed: [{ name: 'broken', code: 'invalid_model' }],
      },
    );
  } finally {
    await server.close();
  }
});

test('within a memory bound, models are loaded when they are used', async (t) => {
  const config = await configFor(t, {
    MODEL: 'tiny-m3',
    MODELS: 'tiny-bert-mean,broken,tiny-xlmr-reranker',
    MODELS_MEMORY_BYTES: '700000',
  });
  const { engines, failed, close } = await loadModels(config, createLogger(config));
  t.after(close);
  assert.deepEqual(
    failed.map(({ name, code }) => [name, code]),
    [['broken', 'invalid_model']],
  );
  const [m3, bert, reranker] = engines;
  assert.deepEqual([m3?.device, bert?.maxBatchTokens], ['cpu', 2048]);
  for (const engine of [m3!, bert!, m3!]) {
    const { vectors } = await engine.embed(await engine.encode(['a heron']), {
      outputs: ['dense'],
      lane: 'bulk',
    });
    assert.ok('dense' in vectors[0]!);
  }
  const { scores } = await reranker!.score(await reranker!.encodePairs([['a', 'b']]), {
    lane: 'interactive',
  });
  assert.equal(typeof scores[0], 'number');
});

test('MODEL alone, or nothing that loads, ends the start with its own reason', async (t) => {
  const logger = createLogger({ logLevel: 'silent' });
  const alone = await configFor(t, { MODEL: 'broken' });
  await assert.rejects(loadModels(alone, logger), {
    code: 'invalid_model',
    message: /model\.onnx is not a readable/,
  });
  const all = await configFor(t, { MODEL: 'broken', MODELS: 'nowhere' });
  await assert.rejects(loadModels(all, logger), { code: 'invalid_model' });
});

test('a device that is named and not there ends the start, without a word of onnxruntime’s own', async (t) => {
  const config = await configFor(t, { MODEL: 'tiny-m3', DEVICE: 'cuda' });
  await assert.rejects(loadModels(config, createLogger(config)), {
    code: 'device_unavailable',
    message: /cuda:0: .*onnxruntime_providers_cuda.*npm rebuild/,
  });
});

test('DENSE_MODEL gives the dense vectors, MODEL the others, in one answer', async (t) => {
  const config = await configFor(t, { MODEL: 'tiny-m3', DENSE_MODEL: 'tiny-bert-mean' });
  const models = await loadModels(config, createLogger(config));
  try {
    const [engine] = models.engines;
    assert.ok(engine !== undefined && models.engines.length === 1);
    assert.equal(engine.model.name, 'tiny-m3+tiny-bert-mean');
    type Expected = { text: string; dense: number[]; sparse: { indices: number[] } };
    const of = async (name: string): Promise<Expected[]> =>
      JSON.parse(await readFile(join(GOLDEN, name, 'expected.json'), 'utf8'));
    const [lexical, dense] = [await of('tiny-m3'), await of('tiny-bert-mean')];
    const shared = lexical.filter(({ text }) => dense.some((other) => other.text === text)).slice(0, 5);
    assert.equal(shared.length, 5);
    const texts = await engine.encode(shared.map(({ text }) => text));
    const { vectors } = await engine.embed(texts, { outputs: ['dense', 'sparse', 'colbert'], lane: 'bulk' });
    for (const [i, vector] of vectors.entries()) {
      assert.ok('dense' in vector && vector.dense && vector.sparse && vector.colbert);
      const wanted = dense.find(({ text }) => text === shared[i]!.text)!.dense;
      assert.ok(vector.dense.every((value, at) => Math.abs(value - wanted[at]!) <= 1e-5));
      assert.deepEqual([...vector.sparse.indices], shared[i]!.sparse.indices);
    }
  } finally {
    await models.close();
  }
});
