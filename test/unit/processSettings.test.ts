import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';
import { processSettings } from '@trivec/core/processSettings';

test('a process gets a bound for its young objects and huge pages, beside its environment', () => {
  assert.deepEqual(processSettings({ PORT: '1' }), {
    execArgv: ['--max-semi-space-size=16'],
    env: { PORT: '1', GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1' },
  });
});

test("what the operator has set is the operator's", () => {
  for (const flag of ['--max-semi-space-size=64', '--max_semi_space_size=64']) {
    assert.deepEqual(processSettings({}, [flag]).execArgv, []);
    assert.deepEqual(processSettings({ NODE_OPTIONS: `--no-warnings ${flag}` }).execArgv, []);
  }
  const tunables = (value: string) => processSettings({ GLIBC_TUNABLES: value }).env.GLIBC_TUNABLES;
  assert.equal(tunables('glibc.malloc.hugetlb=0'), 'glibc.malloc.hugetlb=0');
  assert.equal(tunables('glibc.malloc.arena_max=2'), 'glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1');
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
