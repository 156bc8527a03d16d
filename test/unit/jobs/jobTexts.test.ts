import assert from 'node:assert/strict';
import test from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { TrivecError } from '@trivec/core/errors';
import { JobTexts } from '@trivec/core/jobs/jobTexts';
import { runShard } from '@trivec/core/jobs/shardRunner';
import type { TextVectors } from '@trivec/core/vectors/types';
import fc from 'fast-check';
import { documents, jobRig } from '../../support/jobRig.ts';

const NEVER = new AbortController().signal;

function vectorsOf(text: string, values = 4): TextVectors {
  return { tokens: text.length, dense: new Float32Array(values).fill(text.charCodeAt(0)) };
}

/** Runs the texts of a shard, after some turns of the event loop, and notes which ran. */
function runner(texts: readonly string[], ran: string[], turns = 0, fails = false) {
  return async (places: readonly number[]) => {
    for (let turn = 0; turn < turns; turn++) await nextTurn();
    if (fails) throw new TrivecError('shutting_down', 'The engine is closing.');
    ran.push(...places.map((place) => texts[place]!));
    return places.map((place) =>
      texts[place] === 'bad' ? new TrivecError('model_failed', 'no') : vectorsOf(texts[place]!),
    );
  };
}

test('whatever shards run at once, each gets what it would get alone, and a text runs once', async () => {
  const text = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'bad', '\ud800', '\ud801');
  const shard = fc.record({
    texts: fc.uniqueArray(text, { maxLength: 6 }),
    turns: fc.nat(3),
    after: fc.nat(3),
    fails: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(shard, { minLength: 1, maxLength: 6 }),
      fc.boolean(),
      async (shards, isSmall) => {
        // With the small one no entry finds room: only what runs at this moment is known.
        const known = new JobTexts({ jobTextCacheMb: isSmall ? 2 ** -10 : 1 });
        const ran: string[] = [];
        await Promise.all(
          shards.map(async ({ texts, turns, after, fails }) => {
            for (let turn = 0; turn < after; turn++) await nextTurn();
            const own = known.of('job_a')!;
            const outcomes = await own
              .embed(texts, NEVER, runner(texts, ran, turns, fails))
              .catch((error: TrivecError) => error.code);
            // One that fails does so alone, unless the others had run all of its texts.
            if (outcomes === 'shutting_down') return assert.ok(fails);
            assert.deepEqual(
              outcomes,
              texts.map((one) => (one === 'bad' ? new TrivecError('model_failed', 'no') : vectorsOf(one))),
            );
          }),
        );
        if (isSmall) return;
        const shared = ran.filter((one) => one !== 'bad' && one.isWellFormed());
        assert.equal(new Set(shared).size, shared.length, `${ran}`);
      },
    ),
    { numRuns: 300 },
  );
});

test('two shards that wait for each other both come to their end', async () => {
  const known = new JobTexts({ jobTextCacheMb: 1 });
  const ran: string[] = [];
  const embed = (texts: string[]) => known.of('job_a')!.embed(texts, NEVER, runner(texts, ran, 2));
  await Promise.all([embed(['a', 'b']), embed(['b', 'c']), embed(['c', 'a'])]);
  assert.deepEqual(ran.sort(), ['a', 'b', 'c']);
});

test('who waits for another shard leaves when it is given up, and the other goes on', async () => {
  const known = new JobTexts({ jobTextCacheMb: 1 });
  const ran: string[] = [];
  const first = known.of('job_a')!.embed(['a'], NEVER, runner(['a'], ran, 5));
  const leaving = new AbortController();
  const second = known.of('job_a')!.embed(['a', 'b'], leaving.signal, runner(['a', 'b'], ran));
  leaving.abort();
  await assert.rejects(second, { code: 'cancelled' });
  assert.deepEqual(await first, [vectorsOf('a')]);
  assert.deepEqual(ran, ['b', 'a']);
});

test('another job knows nothing of it; with 0 nothing is known; the bytes are bounded', async () => {
  const known = new JobTexts({ jobTextCacheMb: 1 });
  const ran: string[] = [];
  for (const job of ['job_a', 'job_b', 'job_a']) await known.of(job)!.embed(['a'], NEVER, runner(['a'], ran));
  assert.deepEqual(ran, ['a', 'a']);
  assert.equal(new JobTexts({ jobTextCacheMb: 0 }).of('job_a'), undefined);
  const texts = Array.from({ length: 100 }, (_, i) => `${i}`);
  await known.of('job_a')!.embed(texts, NEVER, async () => texts.map((one) => vectorsOf(one, 2 ** 13)));
  assert.ok(known.bytes > 2 ** 19 && known.bytes <= 2 ** 20, `${known.bytes}`);
});

test('a job has the same results, counts and tokens; its outcomes say what did not run', async () => {
  const texts = ['one', 'one two', 'one', 'boiler plate', 'two', 'boiler plate', 'one', 'boiler plate three'];
  const results = [];
  for (const known of [undefined, new JobTexts({ jobTextCacheMb: 1 })]) {
    const rig = jobRig({ shardMaxDocuments: 2 });
    const job = await rig.submit(documents(8, (i) => texts[i]!));
    const { ledger, storage, engine, logger } = rig;
    const deps = { ledger, storage, engine, logger, ...(known && { texts: known }) };
    let twins = 0;
    for (const { data } of rig.queue.items.values()) {
      const outcome = await runShard(deps, data, NEVER);
      assert.ok(outcome.stored);
      twins += outcome.twins;
    }
    assert.equal(twins, known === undefined ? 0 : 3);
    const { counts, tokens, truncated } = await rig.job(job.id);
    results.push({ rows: (await rig.lines(job.id)).rows, counts, tokens, truncated });
  }
  assert.deepEqual(results[1], results[0]);
});
