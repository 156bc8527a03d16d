import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadConfig } from '../../packages/core/src/config.ts';
import { FakeHub } from '../support/fakeHub.ts';
import { runCli } from '../support/runCli.ts';

/** The commands of `trivec models` that work on the files of this machine. */

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'trivec-cli-models-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test('models: the catalog and what of it is here, without a server', async (t) => {
  const config = loadConfig({
    LOG_LEVEL: 'silent',
    MODELS_DIR: fileURLToPath(new URL('../golden/models', import.meta.url)),
    HF_HUB_CACHE: folder(t),
    HF_HUB_OFFLINE: '1',
  });
  const listed = await runCli(['models'], config);
  assert.match(listed.out, /trivec-mini +embedding +built in/);
  assert.match(listed.out, /tiny-qwen3-reranker +reranker +MODELS_DIR +fp32/);
  assert.match(listed.out, /BAAI\/bge-m3 +embedding +hub: BAAI\/bge-m3 +fp32 +1024 +8,192 +MIT/);
  const checked = await runCli(['models', 'check', 'tiny-m3', '--json'], config);
  const report = JSON.parse(checked.out);
  assert.deepEqual(
    [report.kind, report.outputs, report.denseDims, report.colbertDims, report.selfTest.outcome],
    ['embedding', ['dense', 'sparse', 'colbert'], 32, 16, 'runs'],
  );
  assert.match(
    (await runCli(['models', 'check', 'tiny-xlmr-reranker'], config)).out,
    /self-test: .*two pairs/,
  );
  const missing = await runCli(['models', 'check', 'bge-m3'], config);
  assert.equal(missing.code, 1);
  assert.match(missing.err, /BAAI\/bge-m3 is not complete in .*HF_HUB_OFFLINE/);
});

test('models pull downloads into the cache', async (t) => {
  const content = async (path: string) => ({
    content: await readFile(new URL(`../golden/models/tiny-bert-mean/${path}`, import.meta.url)),
  });
  const hub = await FakeHub.start({
    files: Object.fromEntries(
      await Promise.all(
        ['config.json', 'tokenizer.json', 'model.onnx', '1_Pooling/config.json'].map(
          async (path) => [path, await content(path)] as const,
        ),
      ),
    ),
  });
  t.after(() => hub.close());
  const config = loadConfig({ LOG_LEVEL: 'silent', HF_HUB_CACHE: folder(t), HF_ENDPOINT: hub.url });
  const pulled = await runCli(['models', 'pull', 'tiny/model'], config);
  assert.equal(pulled.code, 0, pulled.err);
  assert.match(pulled.err, /tiny\/model: embedding, fp32, dense/);
  const checked = await runCli(['models', 'check', 'tiny/model'], config);
  assert.match(checked.out, /pooling: +mean/);
});
