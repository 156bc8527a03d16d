import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';
import { processSettings } from '@trivec/core/processSettings';

test('a process gets a bound for its young objects, huge pages and one heap, beside its environment', () => {
  assert.deepEqual(processSettings({ PORT: '1' }), {
    execArgv: ['--max-semi-space-size=16'],
    env: { PORT: '1', GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1' },
  });
});

test("what the operator has set is the operator's", () => {
  for (const flag of ['--max-semi-space-size=64', '--max_semi_space_size=64']) {
    assert.deepEqual(processSettings({}, [flag]).execArgv, []);
    assert.deepEqual(processSettings({ NODE_OPTIONS: `--no-warnings ${flag}` }).execArgv, []);
  }
  const tunables = (env: Record<string, string>) => processSettings(env).env.GLIBC_TUNABLES;
  assert.equal(
    tunables({ GLIBC_TUNABLES: 'glibc.malloc.hugetlb=0' }),
    'glibc.malloc.hugetlb=0:glibc.malloc.arena_max=1',
  );
  assert.equal(
    tunables({ GLIBC_TUNABLES: 'glibc.malloc.arena_max=2' }),
    'glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1',
  );
  assert.equal(tunables({ MALLOC_ARENA_MAX: '4' }), 'glibc.malloc.hugetlb=1');
  const both = 'glibc.malloc.arena_max=2:glibc.malloc.hugetlb=0';
  assert.equal(tunables({ GLIBC_TUNABLES: both }), both);
});

test('Node takes the flag, and its heap has less to grow into', () => {
  const limit = (args: readonly string[], env: NodeJS.ProcessEnv): number => {
    const print = 'console.log(v8.getHeapStatistics().heap_size_limit)';
    const { status, stdout } = spawnSync(process.execPath, [...args, '-e', print], { env, encoding: 'utf8' });
    assert.equal(status, 0);
    return Number(stdout);
  };
  const { execArgv, env } = processSettings({ PATH: process.env.PATH });
  assert.ok(limit(execArgv, env) < limit(['--max-semi-space-size=64'], {}));
});

test('a program that imports it first runs with them, in the same process', { skip: !process.execve }, () => {
  const preload = new URL('../../packages/core/src/startAsServer.ts', import.meta.url).href;
  const print =
    'console.log(JSON.stringify([process.env.GLIBC_TUNABLES, process.execArgv, process.argv[1], process.pid]))';
  const { stdout, pid } = spawnSync(process.execPath, ['--import', preload, '-e', print, 'argument'], {
    env: { PATH: process.env.PATH },
    encoding: 'utf8',
  });
  const [tunables, flags, argument, ownPid] = JSON.parse(stdout) as [string, string[], string, number];
  assert.equal(tunables, processSettings({}).env.GLIBC_TUNABLES);
  assert.ok(flags.includes('--max-semi-space-size=16'));
  assert.deepEqual([argument, ownPid], ['argument', pid]);
});
