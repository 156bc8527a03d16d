import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

/** SwiftShader, a Vulkan device in software, comes with Debian's package chromium; libvulkan1 loads it. */
const SWIFTSHADER = [
  '/usr/lib/chromium/vk_swiftshader_icd.json',
  '/usr/lib64/chromium/vk_swiftshader_icd.json',
].find((path) => existsSync(path));
/** TRIVEC_WEBGPU=1 asks for the machine's own adapter. */
const OWN_ADAPTER = process.env.TRIVEC_WEBGPU === '1';
/** SwiftShader's sums differ from the reference's by 2e-6 at most; those of a GPU may be rounder. */
const TOLERANCE = OWN_ADAPTER ? 1e-4 : 1e-5;
const FOLDER = fileURLToPath(new URL('../golden/models/tiny-m3', import.meta.url));
const PROGRAM = fileURLToPath(new URL('../support/embedOnDevice.ts', import.meta.url));

test('WebGPU: the real provider gives the reference’s vectors', {
  skip:
    SWIFTSHADER === undefined && !OWN_ADAPTER
      ? 'needs Debian’s chromium (SwiftShader) and libvulkan1, or TRIVEC_WEBGPU=1 and a GPU'
      : false,
}, async () => {
  // The loader reads its variables when the process starts, and a driver may take its process along.
  const child = spawn(process.execPath, [PROGRAM, FOLDER, 'webgpu'], {
    env: OWN_ADAPTER
      ? process.env
      : { ...process.env, VK_DRIVER_FILES: SWIFTSHADER, VK_ICD_FILENAMES: SWIFTSHADER },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [out, err]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
  const [code] = await once(child, 'close');
  assert.equal(code, 0, Buffer.concat(err).toString());
  const { device, vectors } = JSON.parse(Buffer.concat(out).toString()) as {
    device: string;
    vectors: { dense: number[]; indices: number[]; values: number[]; firstRow: number[] }[];
  };
  assert.equal(device, 'webgpu');
  const expected = JSON.parse(await readFile(`${FOLDER}/expected.json`, 'utf8')).slice(0, vectors.length);
  const near = (a: number[], b: number[]) => {
    assert.equal(a.length, b.length);
    for (const [i, value] of a.entries())
      assert.ok(Math.abs(value - b[i]!) <= TOLERANCE, `${value} and ${b[i]}`);
  };
  assert.ok(vectors.length >= 5);
  for (const [i, { dense, indices, values, firstRow }] of vectors.entries()) {
    near(dense, expected[i].dense);
    assert.deepEqual(indices, expected[i].sparse.indices);
    near(values, expected[i].sparse.values);
    near(firstRow, expected[i].colbert.sample[0]?.[1] ?? []);
  }
});
