import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import test from 'node:test';
import type { NpmCall } from '../../../apps/cli/src/npmCall.ts';
import { run } from '../../../apps/cli/src/run.ts';
import { loadConfig } from '../../../packages/core/src/config.ts';

/** A command line for which no server is there: it must end before it asks for one. */
async function trivec(args: string[], npm?: NpmCall) {
  const err = new PassThrough();
  const code = await run(args, {
    readConfig: () => loadConfig({ PORT: '1' }),
    ...(npm && { npm }),
    out: new PassThrough() as unknown as NodeJS.WriteStream,
    err: err as unknown as NodeJS.WriteStream,
  });
  return { code, err: String(err.read() ?? '') };
}

test('a --dry-run that npm has kept ends the command instead of making a job', async () => {
  const { code, err } = await trivec(['embed', 'x.ndjson'], { script: 'trivec', dryRun: true });
  assert.equal(code, 2);
  assert.match(err, /^trivec: npm has taken --dry-run for itself\. .*npx trivec embed … --dry-run`\.\n$/);
  for (const npm of [
    { script: 'npx', dryRun: true },
    { script: 'trivec', dryRun: false },
  ])
    assert.doesNotMatch((await trivec(['embed', 'x.ndjson', 'y'], npm)).err, /taken --dry-run/);
  const passedOn = await trivec(['embed', 'x', 'y', '--dry-run'], { script: 'trivec', dryRun: true });
  assert.match(passedOn.err, /too many arguments/);
});

test('too many arguments by way of npm: the error says where options go', async () => {
  const byNpm = await trivec(['jobs', '5'], { script: 'trivec', dryRun: false });
  assert.equal(byNpm.code, 2);
  assert.match(byNpm.err, /too many arguments[\s\S]*`npm run trivec -- …`/);
  assert.doesNotMatch((await trivec(['jobs', '5'])).err, /npm/);
});

test('a mistyped command and a search without a job say what there is', async () => {
  const mistyped = await trivec(['models', 'pul', 'bge-m3']);
  assert.equal(mistyped.code, 2);
  assert.match(mistyped.err, /unknown command 'models pul'.*models pull/);
  for (const args of [['search'], ['search', 'how long?'], ['search', '--collection', 'c']]) {
    const { code, err } = await trivec(args);
    assert.equal(code, 2);
    assert.match(err, /search needs JOB_ID and a question \(`npx trivec jobs` lists ids\), or --collection/);
  }
});
