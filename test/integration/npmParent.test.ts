import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { isRunByNpm } from '@trivec/core/npmParent';

const PROGRAM = fileURLToPath(new URL('../support/waitingProcess.ts', import.meta.url));
const SHELL = process.platform === 'win32' ? 'there is no sh' : false;

test('only the scripts of this project that run a server end with npm', () => {
  for (const script of ['start', 'api', 'worker'])
    assert.ok(isRunByNpm({ npm_package_name: 'trivec', npm_lifecycle_event: script }));
  assert.equal(isRunByNpm({}), false);
  assert.equal(isRunByNpm({ npm_package_name: 'trivec', npm_lifecycle_event: 'test' }), false);
  assert.equal(isRunByNpm({ npm_package_name: 'mine', npm_lifecycle_event: 'start' }), false);
});

test('an API or worker whose npm got SIGTERM closes what it holds', {
  skip: SHELL,
  timeout: 20_000,
}, async (t) => {
  // `; true` keeps any shell from making way for the program.
  const shell = spawn('sh', ['-c', '"$@"; true', 'sh', process.execPath, PROGRAM], {
    env: { ...process.env, npm_package_name: 'trivec', npm_lifecycle_event: 'api' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let pid: number | undefined;
  t.after(() => {
    shell.kill('SIGKILL');
    if (pid !== undefined && !output.includes('closed\n')) process.kill(pid, 'SIGKILL');
  });
  let output = '';
  // Both hold the pipe: it ends with the last of them.
  for await (const chunk of shell.stdout.setEncoding('utf8')) {
    output += chunk;
    const said = /^(\d+)$/m.exec(output)?.[1];
    if (said === undefined || pid !== undefined) continue;
    pid = Number(said);
    shell.kill('SIGTERM');
  }
  assert.match(output, /^closed$/m);
});
