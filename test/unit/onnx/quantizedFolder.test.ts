import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { cp, type FileHandle, mkdir, mkdtemp, open, readdir, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { waitForLock } from '@trivec/core/onnx/fileLock';
import { decodeModel, encodeModel } from '@trivec/core/onnx/proto';
import { rewriteModelFile } from '@trivec/core/onnx/quantize';
import { quantizeModelFolder } from '@trivec/core/onnx/quantizedFolder';
import { readManifest } from '@trivec/core/onnx/rewriteManifest';

const GOLDEN = fileURLToPath(new URL('../../golden/onnx/', import.meta.url));
const refused = (pattern: RegExp) => (error: Error & { code?: string }) =>
  error.code === 'invalid_model' && pattern.test(error.message);

async function modelFolder(t: TestContext): Promise<{ root: string; source: string; target: string }> {
  const root = await mkdtemp(join(tmpdir(), 'quantized-'));
  t.after(() => rm(root, { recursive: true }));
  const source = join(root, 'model');
  await cp(`${GOLDEN}external`, join(source, 'onnx'), { recursive: true });
  await cp(`${GOLDEN}sparse_linear.pt`, join(source, 'sparse_linear.pt'));
  writeFileSync(join(source, 'config.json'), '{"hidden_size": 32}');
  writeFileSync(join(source, 'pytorch_model.bin'), 'weights that must not be copied');
  return { root, source, target: join(root, 'cache', 'int8') };
}

const MODEL = join('onnx', 'model.onnx');

test('a folder is rewritten once, with the small files it needs', async (t) => {
  const { root, source, target } = await modelFolder(t);
  const first = await quantizeModelFolder(source, MODEL, target, { dtype: 'int8' });
  assert.equal(first.reused, false);
  assert.equal(first.modelPath, join(target, MODEL));
  assert.deepEqual((await readdir(target)).sort(), [
    'config.json',
    'onnx',
    'sparse_linear.pt',
    'trivec-rewrite.json',
  ]);
  assert.deepEqual((await readdir(join(target, 'onnx'))).sort(), ['model.onnx', 'model.onnx_data']);
  const again = await quantizeModelFolder(source, MODEL, target, { dtype: 'int8' });
  assert.deepEqual(again, { ...first, reused: true });
  assert.deepEqual((await readdir(join(root, 'cache'))).sort(), ['int8', 'int8.lock']);
});

test('a touched source is reused, a changed one or another rewriter rebuilt, a damaged cache never used', async (t) => {
  const { source, target } = await modelFolder(t);
  const quantize = async () => (await quantizeModelFolder(source, MODEL, target, { dtype: 'int8' })).reused;
  await quantize();
  await utimes(join(source, MODEL), new Date(), new Date(2000, 1));
  assert.equal(await quantize(), true, 'touched');

  const data = join(source, 'onnx', 'model.onnx_data');
  const bytes = readFileSync(data);
  bytes[0]! ^= 1;
  writeFileSync(data, bytes);
  assert.equal(await quantize(), false, 'one bit of a weight changed');
  assert.equal(await quantize(), true);

  const manifest = join(target, 'trivec-rewrite.json');
  const text = readFileSync(manifest, 'utf8');
  writeFileSync(manifest, text.replace(/"rewriter": \d+/, '"rewriter": 0'));
  assert.equal(await quantize(), false, 'another rewriter');
  writeFileSync(manifest, text.slice(0, 100));
  assert.equal(await quantize(), false, 'a manifest cut short');
  appendFileSync(join(target, 'onnx', 'model.onnx_data'), 'x');
  assert.equal(await quantize(), false, 'a data file of another size');
  const other = await quantizeModelFolder(source, MODEL, target, { dtype: 'fp16' });
  assert.equal(other.reused, false, 'another dtype');
});

test('nothing but an empty folder or an earlier result is replaced', async (t) => {
  const { root, source, target } = await modelFolder(t);
  const refusedTarget = (path: string, pattern: RegExp) =>
    assert.rejects(
      quantizeModelFolder(source, MODEL, path, { dtype: 'int8' }),
      (error: Error & { code?: string }) => error.code === 'invalid_config' && pattern.test(error.message),
      path,
    );
  symlinkSync(source, join(root, 'link'));
  await refusedTarget(source, /the model's own folder/);
  await refusedTarget(join(root, 'link'), /the model's own folder/);
  await refusedTarget(root, /the model lies in it/);
  await refusedTarget(join(source, 'onnx'), /it holds other files/);
  await refusedTarget(join(source, 'config.json'), /it is a file/);
  assert.ok(existsSync(join(source, 'onnx', 'model.onnx_data')));
  await mkdir(target, { recursive: true });
  assert.equal((await quantizeModelFolder(source, MODEL, target, { dtype: 'int8' })).reused, false, 'empty');
});

test('files are written beside the model instead of copies, and belong to what is compared', async (t) => {
  const { source, target } = await modelFolder(t);
  const quantize = (text: string) =>
    quantizeModelFolder(source, MODEL, target, { dtype: 'int8', written: { 'config.json': text } });
  await quantize('{"a": 1}');
  assert.equal(readFileSync(join(target, 'config.json'), 'utf8'), '{"a": 1}');
  assert.equal((await quantize('{"a": 1}')).reused, true);
  assert.equal((await quantize('{"a": 2}')).reused, false);
  assert.equal((await readManifest(target))?.dtype, 'int8');
});

test('a full disk is said to be one and leaves nothing', async (t) => {
  const { root, source, target } = await modelFolder(t);
  const probe = await open(join(source, MODEL));
  const handle = Object.getPrototypeOf(probe) as Pick<FileHandle, 'write'>;
  await probe.close();
  t.mock.method(handle, 'write', async () => {
    throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
  });
  await assert.rejects(quantizeModelFolder(source, MODEL, target, { dtype: 'int8' }), {
    code: 'storage_full',
  });
  assert.deepEqual(await readdir(join(root, 'cache')), ['int8.lock']);
});

test('a place where nothing can be written is said to be one', {
  skip: process.platform !== 'linux' && 'there is no such place that is the same for every user',
}, async (t) => {
  const { source } = await modelFolder(t);
  await assert.rejects(quantizeModelFolder(source, MODEL, '/sys/trivec-int8', { dtype: 'int8' }), {
    code: 'storage_unavailable',
    message: /\/sys\/trivec-int8\.lock can't be written/,
  });
});

test('a truncated or foreign graph is refused', async (t) => {
  const { source, target } = await modelFolder(t);
  const bytes = readFileSync(join(source, MODEL));
  for (const [name, content] of Object.entries({
    'cut short': bytes.subarray(0, bytes.length / 2),
    'an image': Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex'),
    empty: Buffer.alloc(0),
  })) {
    writeFileSync(join(source, MODEL), content);
    await assert.rejects(
      quantizeModelFolder(source, MODEL, target, { dtype: 'int8' }),
      { code: 'invalid_model' },
      name,
    );
  }
  assert.equal(existsSync(target), false);
});

test('what a killed run left is removed and a failed one leaves nothing', async (t) => {
  const { root, source, target } = await modelFolder(t);
  await mkdir(`${target}.0123456789ab.tmp`, { recursive: true });
  await quantizeModelFolder(source, MODEL, target, { dtype: 'int8' });
  assert.deepEqual((await readdir(join(root, 'cache'))).sort(), ['int8', 'int8.lock']);
  const before = readFileSync(join(target, 'trivec-rewrite.json'));

  await rm(join(source, 'onnx', 'model.onnx_data'));
  await assert.rejects(
    quantizeModelFolder(source, MODEL, target, { dtype: 'int8' }),
    refused(/model\.onnx_data is missing/),
  );
  writeFileSync(join(source, 'config.json'), '{"hidden_size": 33}');
  await cp(`${GOLDEN}external/model.onnx_data`, join(source, 'onnx', 'model.onnx_data'));
  await assert.rejects(
    quantizeModelFolder(source, MODEL, target, { dtype: 'int8', signal: AbortSignal.abort() }),
    { name: 'AbortError' },
  );
  assert.deepEqual((await readdir(join(root, 'cache'))).sort(), ['int8', 'int8.lock']);
  assert.deepEqual(readFileSync(join(target, 'trivec-rewrite.json')), before);
});

test('of two processes at once one works and the other takes its result', async (t) => {
  const { source, target } = await modelFolder(t);
  const script = `
    import { quantizeModelFolder } from '@trivec/core/onnx/quantizedFolder';
import { readManifest } from '@trivec/core/onnx/rewriteManifest';
    const [source, model, target] = process.argv.slice(1);
    const { reused } = await quantizeModelFolder(source, model, target, { dtype: 'int8' });
    console.log(reused);`;
  const start = async () => {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--input-type=module', '-e', script, source, MODEL, target],
      { cwd: fileURLToPath(new URL('../../..', import.meta.url)) },
    );
    return stdout.trim();
  };
  assert.deepEqual((await Promise.all([start(), start()])).sort(), ['false', 'true']);
});

test('a lock is waited for and can be given up on', async (t) => {
  const { root } = await modelFolder(t);
  const path = join(root, 'lock');
  const held = await waitForLock(path);
  const waiting = waitForLock(path);
  await assert.rejects(waitForLock(path, AbortSignal.timeout(20)), { name: 'AbortError' });
  held.close();
  held.close();
  (await waiting).close();
});

test('a model with nothing to round and one of too old an operator set are refused', async (t) => {
  const { root } = await modelFolder(t);
  const edited = (name: string, edit: (model: ReturnType<typeof decodeModel>) => void): string => {
    const model = decodeModel(readFileSync(`${GOLDEN}backbone17.onnx`));
    edit(model);
    writeFileSync(join(root, name), encodeModel(model));
    return join(root, name);
  };
  const old = edited('old.onnx', (model) => {
    model.opsetImport[0]!.version = 9n;
  });
  await assert.rejects(
    rewriteModelFile(old, join(root, 'a.onnx'), { dtype: 'int8' }),
    refused(/operator set 9, which lacks Round; 11 or later/),
  );
  const bare = edited('bare.onnx', (model) => {
    for (const node of model.graph.node) if (node.opType === 'MatMul') node.opType = 'MatMulElsewhere';
  });
  await assert.rejects(
    rewriteModelFile(bare, join(root, 'b.onnx'), { dtype: 'int8' }),
    refused(/nothing to quantise/),
  );
  for (const name of ['a.onnx', 'a.onnx_data', 'b.onnx', 'b.onnx_data'])
    assert.equal(existsSync(join(root, name)), false, name);
});
