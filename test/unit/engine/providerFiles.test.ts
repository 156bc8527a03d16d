import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { missingFiles, seesNvidiaGpu } from '@trivec/core/engine/providerFiles';

test('a provider whose library is not there is not tried; the others are', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'trivec-providers-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const cuda = { device: 'cuda:0', name: 'cuda', deviceId: 0 };
  assert.match(missingFiles(cuda, folder) ?? '', /onnxruntime_providers_cuda.*npm rebuild/);
  for (const name of ['libonnxruntime_providers_cuda.so', 'onnxruntime_providers_cuda.dll'])
    writeFileSync(join(folder, name), '');
  assert.equal(missingFiles(cuda, folder), undefined);
  assert.match(missingFiles({ device: 'tensorrt:0', name: 'tensorrt' }, folder) ?? '', /tensorrt/);
  assert.equal(missingFiles({ device: 'cpu', name: 'cpu' }), undefined);
  assert.equal(missingFiles({ device: 'webgpu', name: 'webgpu' }, undefined), undefined);
});

test('a GPU is seen by the files of its driver', () => {
  assert.ok(!seesNvidiaGpu([join(tmpdir(), 'trivec-no-such-driver')]));
  assert.ok(seesNvidiaGpu([join(tmpdir(), 'trivec-no-such-driver'), tmpdir()]));
});
