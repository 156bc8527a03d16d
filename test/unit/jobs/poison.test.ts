import assert from 'node:assert/strict';
import test from 'node:test';
import type { EmbedOptions, EncodedText } from '@trivec/core/engine/types';
import { TrivecError } from '@trivec/core/errors';
import { type FlightNote, ShardHolder, suspicionFrom } from '@trivec/core/jobs/flight';
import { runShard } from '@trivec/core/jobs/shardRunner';
import type { LedgerStore } from '@trivec/core/ledger/ledgerStore';
import fc from 'fast-check';
import { FakeEngine } from '../../support/fakeEngine.ts';
import { ANYONE, jobRig } from '../../support/jobRig.ts';

const BATCH = 3;
const DOCUMENTS = 8;
const DEADLY_WORD = 'x'.repeat(50);
const DEADLY_ID = 10 + DEADLY_WORD.length;

/** Runs texts in batches and says which before each, as the real engine does. */
class BatchingEngine extends FakeEngine {
  /** Called with the texts of a forward pass that has begun; what it returns, the pass waits for. */
  onPass: (texts: readonly EncodedText[]) => Promise<void> = async () => undefined;

  override async embed(texts: readonly EncodedText[], options: EmbedOptions) {
    for (let from = 0; from < texts.length; from += BATCH) {
      const batch = texts.slice(from, from + BATCH);
      await options.onBatch?.(batch.map((_, i) => from + i));
      await this.onPass(batch);
    }
    return super.embed(texts, options);
  }
}

/** The ledger as a process sees it that may die: from then on nothing it does arrives, and nothing returns. */
function mortal(ledger: LedgerStore): { ledger: LedgerStore; die: () => Promise<never> } {
  let dead = false;
  const never = new Promise<never>(() => undefined);
  return {
    ledger: new Proxy(ledger, {
      get(target, name) {
        const member = Reflect.get(target, name) as unknown;
        if (typeof member !== 'function') return member;
        return (...args: unknown[]) => (dead ? never : member.apply(target, args));
      },
    }),
    die: () => {
      dead = true;
      return never;
    },
  };
}

/** Runs a shard of `DOCUMENTS` until it is stored, one process after another; `kills` says after which pass one dies. */
async function live(
  poisoned: ReadonlySet<number>,
  kills: readonly number[],
  text = (i: number) => `${'w'.repeat(1 + i)} ${poisoned.has(i) ? DEADLY_WORD : 'fine'}`,
) {
  const rig = jobRig({ shardMaxDocuments: DOCUMENTS, shardMaxBytes: 100_000 });
  const job = await rig.submit(Array.from({ length: DOCUMENTS }, (_, i) => ({ id: `d${i}`, text: text(i) })));
  const killedAlone = new Map<string, number>();
  let deaths = 0;
  for (; deaths < 40; deaths++) {
    const process = mortal(rig.ledger);
    const engine = new BatchingEngine();
    const death = Promise.withResolvers<'died'>();
    const kill = kills[deaths];
    let passes = 0;
    engine.onPass = async (texts) => {
      const names = texts.map(({ ids }) => ids.join());
      const [alone] = names.length === 1 ? names : [];
      const deadly = texts.some(({ ids }) => ids.includes(DEADLY_ID));
      // An operator who kills a process three times over one and the same document could be told from nothing.
      const operator = passes++ === kill && (alone === undefined || (killedAlone.get(alone) ?? 0) < 2);
      if (!deadly && !operator) return;
      if (!deadly && alone !== undefined) killedAlone.set(alone, (killedAlone.get(alone) ?? 0) + 1);
      death.resolve('died');
      await process.die();
    };
    const deps = { ...rig, ledger: process.ledger, engine, holder: new ShardHolder() };
    const run = runShard(deps, { jobId: job.id, ordinal: 0 }, new AbortController().signal);
    if ((await Promise.race([run, death.promise])) !== 'died') break;
  }
  return { rig, job: await rig.job(job.id), deaths };
}

test('a document that kills the process fails alone: one death with its batch, three alone', async () => {
  const { rig, job, deaths } = await live(new Set([4]), []);
  assert.equal(deaths, 4);
  assert.deepEqual(job.counts, { documents: 8, embedded: 7, written: 0, failed: 1 });
  assert.deepEqual(
    job.errors.map(({ id, code }) => [id, code]),
    [['d4', 'poisoned_document']],
  );
  const { rows } = await rig.lines(job.id);
  assert.deepEqual(
    rows.map(({ id }) => id),
    ['d0', 'd1', 'd2', 'd3', 'd5', 'd6', 'd7'],
  );
  assert.equal((await Array.fromAsync(await rig.service.errors(job.id, ANYONE))).length, 1);
  assert.equal(rig.ledger.notes.size, 0, 'a note is left');
});

test('a text that kills the process takes no more deaths where several documents have it', async () => {
  const { job, deaths } = await live(new Set(), [], (i) => (i % 2 === 0 ? `w${'w'.repeat(i)}` : DEADLY_WORD));
  assert.equal(deaths, 4);
  assert.deepEqual(
    job.errors.map(({ id, code }) => `${id} ${code}`),
    [1, 3, 5, 7].map((i) => `d${i} poisoned_document`),
  );
  assert.deepEqual(job.counts, { documents: 8, embedded: 4, written: 0, failed: 4 });
});

test('whatever an operator kills: exactly the poisoned documents fail, all others are embedded', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.nat(DOCUMENTS - 1), { maxLength: 2 }),
      fc.array(fc.nat(5), { maxLength: 8 }),
      async (poisoned, kills) => {
        const { job } = await live(new Set(poisoned), kills);
        assert.deepEqual(
          job.errors.map(({ id, code }) => `${id} ${code}`),
          [...poisoned].sort((a, b) => a - b).map((i) => `d${i} poisoned_document`),
        );
        assert.equal(job.counts.embedded, DOCUMENTS - poisoned.length);
        assert.equal(job.counts.failed, poisoned.length);
      },
    ),
    { numRuns: 150 },
  );
});

test('kills at the same moment of every life convict nobody: they spread over the suspects', async () => {
  const { job, deaths } = await live(new Set(), [0, 0, 0, 0, 0, 0]);
  assert.equal(deaths, 6);
  assert.deepEqual(job.counts, { documents: 8, embedded: 8, written: 0, failed: 0 });
});

test('a note of a living process, and a shard that failed without a death, blame nobody', async () => {
  const note: FlightNote = { process: 'a', inFlight: [2], alone: true, suspects: [1], deaths: [[2, 2]] };
  assert.deepEqual(suspicionFrom(note, 'a'), { suspects: new Set([1]), deaths: new Map([[2, 2]]) });
  assert.deepEqual(suspicionFrom(note, 'b'), { suspects: new Set([1, 2]), deaths: new Map([[2, 3]]) });
  assert.deepEqual(suspicionFrom({ ...note, alone: false }, 'b').deaths, new Map([[2, 2]]));

  const rig = jobRig();
  const job = await rig.submit([{ id: 'a', text: 'one' }]);
  const engine = new BatchingEngine();
  engine.onPass = async () => {
    throw new TrivecError('model_unavailable', 'The device is gone.');
  };
  const pointer = { jobId: job.id, ordinal: 0 };
  const signal = new AbortController().signal;
  await assert.rejects(runShard({ ...rig, engine }, pointer, signal), { code: 'model_unavailable' });
  const left = JSON.parse((await rig.ledger.readNote(job.id, 0))!) as FlightNote;
  assert.deepEqual(left.inFlight, []);
});

test('who runs a suspect has the process alone; the others wait and come in turn', async () => {
  const holder = new ShardHolder();
  const log: string[] = [];
  const gates = [0, 1, 2].map(() => Promise.withResolvers<void>());
  const work = (name: string, gate: number) => async () => {
    log.push(`${name} begins`);
    await gates[gate]!.promise;
    log.push(`${name} ends`);
  };
  const all = [
    holder.together(work('a', 0)),
    holder.together(work('b', 0)),
    holder.alone(work('suspect', 1)),
    holder.together(work('c', 2)),
  ];
  await new Promise(setImmediate);
  assert.deepEqual(log, ['a begins', 'b begins']);
  gates[0]!.resolve();
  await new Promise(setImmediate);
  assert.deepEqual(log.slice(4), ['suspect begins']);
  gates[1]!.resolve();
  gates[2]!.resolve();
  await Promise.all(all);
  assert.deepEqual(log.slice(5), ['suspect ends', 'c begins', 'c ends']);
});

test('a blob that is damaged fails its documents once, and the job ends', async () => {
  const whole = '{"id":"d0","text":"word"}\n'.repeat(8);
  for (const damage of ['{"id":"d0","te', '', 'null\n'.repeat(4), whole]) {
    const rig = jobRig();
    const job = await rig.submit(Array.from({ length: 6 }, (_, i) => ({ id: `d${i}`, text: 'word' })));
    const [first] = [...rig.storage.blobs.keys()];
    await rig.storage.put(first!, Buffer.from(damage));
    await rig.drain();
    const done = await rig.job(job.id);
    assert.equal(done.status, 'completed', damage);
    assert.deepEqual(done.counts, { documents: 6, embedded: 2, written: 0, failed: 4 });
    assert.match(done.errors[0]!.message, /4 documents of shard 0 cannot be read: their blob is damaged/);
  }
});
