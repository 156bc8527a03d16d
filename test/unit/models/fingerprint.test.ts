import assert from 'node:assert/strict';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fingerprintOf } from '@trivec/core/models/fingerprint';

const MIB = 1024 ** 2;

test('a file that differs in one matrix has another fingerprint, however large it is', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'trivec-fingerprint-'));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, 'model.onnx_data');
  for (const mib of [1, 64, 65, 2200]) {
    const file = await open(path, 'w+');
    try {
      // Sparse: takes no room on the disk.
      await file.truncate(mib * MIB);
      const matrix = Buffer.alloc(mib > 1000 ? 2 * MIB : 64 * 1024, 1);
      const seen = new Set([await fingerprintOf([path], {})]);
      assert.equal(await fingerprintOf([path], {}), [...seen][0]);
      for (const place of [0.1, 0.5, 0.77]) {
        await file.write(matrix, 0, matrix.length, Math.floor((mib * MIB - matrix.length) * place));
        seen.add(await fingerprintOf([path], {}));
      }
      assert.equal(seen.size, 4, `${mib} MiB`);
    } finally {
      await file.close();
    }
  }
});
