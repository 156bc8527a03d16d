import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../support/superviseMain.ts', import.meta.url));

interface Supervised {
  process: ChildProcess;
  /** What the servers wrote: their pids, and the signals they got. */
  lines(): string[];
  stderr(): string;
}

function start(t: TestContext, behaviour: string): Supervised {
  return run(t, behaviour, (args) => [process.execPath, args]);
}

/** As `npm run SCRIPT` does it; `; true` keeps any shell from making way for the program. */
function startUnderShell(t: TestContext, script: string): Supervised {
  const env = { ...process.env, npm_package_name: 'trivec', npm_lifecycle_event: script };
  return run(t, 'serve', (args) => ['sh', ['-c', '"$@"; true', 'sh', process.execPath, ...args]], env);
}

function run(
  t: TestContext,
  behaviour: string,
  commandOf: (args: string[]) => [command: string, args: string[]],
  env = process.env,
): Supervised {
  const folder = mkdtempSync(join(tmpdir(), 'trivec-supervisor-'));
  const file = join(folder, 'pids');
  const child = spawn(...commandOf([MAIN, file, behaviour]), { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const lines = () => (existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []);
  t.after(() => {
    child.kill('SIGKILL');
    for (const line of lines())
      if (/^\d+$/.test(line) && isAlive(Number(line))) process.kill(Number(line), 'SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });
  return { process: child, lines, stderr: () => stderr };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (condition()) return;
    await sleep(20);
  }
  assert.fail(`Waited 10 s in vain for ${what}.`);
}

async function exitCode(supervised: Supervised): Promise<number | null> {
  if (supervised.process.exitCode === null) await once(supervised.process, 'exit');
  return supervised.process.exitCode;
}

test('a crashed server is started again; its clean end is the end', async (t) => {
  const supervised = start(t, 'crash-once');
  assert.equal(await exitCode(supervised), 0);
  assert.equal(supervised.lines().length, 2);
  assert.match(supervised.stderr(), /ended \(exit code 3\); starting it again in 0\.01 s/);
});

test('a server that crashes on every start is given up with its code', async (t) => {
  const supervised = start(t, 'crash');
  assert.equal(await exitCode(supervised), 3);
  assert.equal(supervised.lines().length, 3);
  assert.match(supervised.stderr(), /3 times in a row \(exit code 3\); giving up/);
});

test('exit code 2 is not tried again', async (t) => {
  const supervised = start(t, 'exit-2');
  assert.equal(await exitCode(supervised), 2);
  assert.equal(supervised.lines().length, 1);
});

test('kill -9 of the server: another one takes its place; SIGTERM is passed on once and ends both', async (t) => {
  const supervised = start(t, 'serve');
  await until(() => supervised.lines().length === 1, 'the first start');
  process.kill(Number(supervised.lines()[0]), 'SIGKILL');
  await until(() => supervised.lines().length === 2, 'the second start');
  supervised.process.kill('SIGTERM');
  supervised.process.kill('SIGINT'); // at once: the same request, seen twice
  assert.equal(await exitCode(supervised), 0);
  assert.equal(supervised.lines().slice(2).length, 1);
});

test('a second signal kills a server that does not end', async (t) => {
  const supervised = start(t, 'hang');
  await until(() => supervised.lines().length === 1, 'the start');
  supervised.process.kill('SIGINT');
  await sleep(800); // longer than the time within which two signals are one
  assert.equal(supervised.process.exitCode, null);
  supervised.process.kill('SIGINT');
  assert.equal(await exitCode(supervised), 1);
  assert.equal(isAlive(Number(supervised.lines()[0])), false);
});

test('kill -9 of the supervisor: the server ends by itself', async (t) => {
  const supervised = start(t, 'serve');
  await until(() => supervised.lines().length === 1, 'the start');
  const pid = Number(supervised.lines()[0]);
  supervised.process.kill('SIGKILL');
  await until(() => !isAlive(pid), 'the server to end');
  assert.deepEqual(supervised.lines().slice(1), ['SIGTERM']);
});

const SHELL = process.platform === 'win32' ? 'there is no sh' : false;

test('SIGTERM to npm, whose shell does not pass it on: supervisor and server end', {
  skip: SHELL,
}, async (t) => {
  const shell = startUnderShell(t, 'start');
  await until(() => shell.lines().length === 1, 'the start');
  const server = Number(shell.lines()[0]);
  shell.process.kill('SIGTERM');
  await until(() => !isAlive(server), 'the server to end');
  assert.deepEqual(shell.lines().slice(1), ['SIGTERM']);
});
