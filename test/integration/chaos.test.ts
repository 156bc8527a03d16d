import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { planKills } from '../../bench/chaos/plan.ts';
import { findRedisServer } from '../support/redis.ts';

const MAIN = fileURLToPath(new URL('../../bench/chaos/main.ts', import.meta.url));
const SEED = '20240607';

/** Throws with all output when anything was lost, doubled, miscounted or left behind. */
async function chaos(
  backend: string,
  documents: number,
  kills: number,
  more: string[] = [],
): Promise<string> {
  const args = ['--short', '--backend', backend, '--seed', SEED, '--documents', String(documents), ...more];
  const { stdout } = await promisify(execFile)(process.execPath, [MAIN, ...args, '--kills', String(kills)], {
    maxBuffer: 16 * 1024 * 1024,
    timeout: 110_000,
  });
  return stdout;
}

test('API, workers and Redis are killed during a job: nothing is lost, doubled or left behind', {
  skip: findRedisServer() === undefined && 'no redis-server on this machine',
}, async () => {
  assert.match(await chaos('redis', 1500, 4), /Nothing lost/);
});

test('the one process of the embedded backend, and Qdrant, are killed while a job writes there', async () => {
  assert.match(await chaos('embedded', 400, 2, ['--destination', 'qdrant']), /Nothing lost/);
});

test('a seed gives one plan, and every process its turn', () => {
  const options = {
    seed: 5,
    kills: 12,
    cast: { redis: 1, api: 1, worker: 2 },
    minGapMs: 1,
    maxGapMs: 9,
    maxDownMs: 5,
  };
  const plan = planKills(options);
  assert.deepEqual(planKills(options), plan);
  assert.notDeepEqual(planKills({ ...options, seed: 6 }), plan);
  const perProcess = Map.groupBy(plan, ({ role, index }) => `${role}${index}`);
  assert.deepEqual(
    [...perProcess.values()].map((list) => list.length),
    [3, 3, 3, 3],
  );
  for (const { afterMs, downMs } of plan)
    assert.ok(afterMs >= 1 && afterMs <= 9 && downMs >= 0 && downMs <= 5);
});
