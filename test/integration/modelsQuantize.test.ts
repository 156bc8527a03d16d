import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import test, { type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { run } from '../../apps/cli/src/run.ts';
import { loadConfig } from '../../packages/core/src/config.ts';
import { describeModel } from '../../packages/core/src/models/describe.ts';
import { silentLogger } from '../support/stubDevice.ts';

const MODELS = fileURLToPath(new URL('../golden/models/', import.meta.url));

async function modelFolder(t: TestContext, name: string) {
  const root = await mkdtemp(join(tmpdir(), 'trivec-quantize-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  const source = join(root, name);
  await cp(join(MODELS, name), source, { recursive: true });
  return { root, source, out: join(root, 'out') };
}

async function trivec(args: string[], environment: Record<string, string> = {}) {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const said = Promise.all([text(out), text(err)]);
  const code = await run(args, {
    readConfig: () => loadConfig({ LOG_LEVEL: 'silent', DEVICE: 'cpu', ...environment }),
    out: out as unknown as NodeJS.WriteStream,
    err: err as unknown as NodeJS.WriteStream,
  });
  out.end();
  err.end();
  const [stdout, stderr] = await said;
  return { code, out: stdout, err: stderr };
}

test('models quantize writes a folder that is served as what it is', async (t) => {
  const { root, source, out } = await modelFolder(t, 'tiny-m3');
  const made = await trivec(['models', 'quantize', source, '--out', `${out}/`]);
  assert.equal(made.code, 0, made.err);
  assert.equal(made.out, `${out}\n`);
  assert.match(made.err, /tiny-m3: int8, .* matrices in .*\nServe it: MODEL=/);
  const again = await trivec(['models', 'quantize', source, '--out', out, '--json']);
  assert.equal((JSON.parse(again.out) as { reused: boolean }).reused, true);

  const model = await describeModel(out, loadConfig({}), silentLogger);
  const beside = await describeModel(source, loadConfig({ MODEL_DTYPE: 'int8' }), silentLogger);
  assert.equal(model.info.dtype, 'int8');
  assert.equal(model.info.fingerprint, beside.info.fingerprint, 'as MODEL_DTYPE=int8 would give');
  const asked = await describeModel(out, loadConfig({ MODEL_DTYPE: 'int8' }), silentLogger);
  assert.equal(asked.info.fingerprint, model.info.fingerprint);
  for (const dtype of ['fp32', 'int8-precise'])
    await assert.rejects(
      describeModel(out, loadConfig({ MODEL_DTYPE: dtype }), silentLogger),
      /rewritten as int8, not fp32/,
    );
  // The files need not stay where they were.
  await rm(source, { recursive: true });
  const checked = JSON.parse((await trivec(['models', 'check', out, '--json'])).out);
  assert.deepEqual([checked.dtype, checked.selfTest.outcome], ['int8', 'runs']);
  const missing = await trivec(['models', 'quantize', source, '--out', join(root, 'other')]);
  assert.equal(missing.code, 1);
});

test('what only the catalog knows of a model goes with it', async (t) => {
  const { root, source, out } = await modelFolder(t, 'tiny-bert-mean');
  await rm(join(source, '1_Pooling'), { recursive: true });
  const prompts = { query: 'q: ', passage: 'p: ' };
  const entry = { name: 'ours', kind: 'embedding', folder: source, pooling: 'mean', prompts, maxTokens: 9 };
  const MODELS_FILE = join(root, 'models.json');
  await writeFile(MODELS_FILE, JSON.stringify({ models: [entry] }));
  const made = await trivec(['models', 'quantize', 'ours', '--out', out, '--dtype', 'fp16'], { MODELS_FILE });
  assert.equal(made.code, 0, made.err);
  const { info, heads } = await describeModel(out, loadConfig({}), silentLogger);
  assert.deepEqual(
    [info.name, info.dtype, info.maxTokens, info.prompts, heads.dense?.pooling],
    ['ours@fp16', 'fp16', 9, prompts, 'mean'],
  );
});

test('models quantize refuses a folder with other things in it, and a precision nobody makes', async (t) => {
  const { root, source } = await modelFolder(t, 'tiny-bert-mean');
  const before = await readdir(source);
  for (const out of [source, root, join(source, '1_Pooling')])
    assert.match((await trivec(['models', 'quantize', source, '--out', out])).err, /\(invalid_config\)/, out);
  assert.deepEqual(await readdir(source), before);
  assert.equal(
    (await trivec(['models', 'quantize', source, '--out', join(root, 'x'), '--dtype', 'q4'])).code,
    2,
  );
  assert.equal((await trivec(['models', 'quantize', source])).code, 2);
});

test('models check --dtype says how far a precision is from fp32', async (t) => {
  const { source } = await modelFolder(t, 'tiny-m3');
  const report = JSON.parse((await trivec(['models', 'check', source, '--dtype', 'int8', '--json'])).out);
  assert.equal(report.dtype, 'int8');
  assert.ok(report.dense.minCosine > 0.99 && report.dense.minCosine <= report.dense.meanCosine);
  assert.ok(report.dense.meanCosine < 1 && report.sparse.maxError > 0 && report.colbert.maxError > 0);
  for (const output of ['sparse', 'colbert']) assert.ok(report[output].rankAgreement > 0.9, output);
  assert.ok(report.bytes < report.fp32Bytes);
  assert.match((await trivec(['models', 'check', source, '--dtype', 'fp16'])).err, /fp16/, 'not published');
});

test('models check --dtype compares a reranker by its scores', async (t) => {
  const { source } = await modelFolder(t, 'tiny-xlmr-reranker');
  const shown = (await trivec(['models', 'check', source, '--dtype', 'int8'])).out;
  assert.match(shown, /^scores maxError: +0\.\d+$/m);
  assert.match(
    await readFile(join(source, '.trivec-int8', 'trivec-rewrite.json'), 'utf8'),
    /"dtype": "int8"/,
  );
});
