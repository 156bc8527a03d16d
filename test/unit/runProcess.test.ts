import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

test('what cannot go on closes what it holds and ends with 1, so that it is started again', () => {
  const program = fileURLToPath(new URL('../support/failingProcess.ts', import.meta.url));
  const { status, stdout } = spawnSync(process.execPath, [program], { encoding: 'utf8' });
  assert.equal(status, 1);
  assert.match(stdout, /closed/);
  assert.match(stdout, /"level":60.*The device is gone/);
});
