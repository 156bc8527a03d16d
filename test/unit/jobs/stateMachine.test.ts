import assert from 'node:assert/strict';
import test from 'node:test';
import type { JobEvent, ShardStored, Transition } from '@trivec/core/jobs/jobEvents';
import { jobView } from '@trivec/core/jobs/jobView';
import { Ledger } from '@trivec/core/jobs/ledger';
import type { JobRecord, ShardRecord } from '@trivec/core/jobs/records';
import { applyToJob, applyToShard, isEnded } from '@trivec/core/jobs/stateMachine';
import fc from 'fast-check';
import { MemoryLedger } from '../../support/memory.ts';
import { qdrantDestination } from '../../support/sinkDocuments.ts';

const DOCUMENTS = 3;

function job(shards: number, destination: boolean): JobRecord {
  return {
    id: 'job_a',
    version: 1,
    owner: 'anonymous',
    status: 'queued',
    model: { name: 'm', fingerprint: 'f' },
    options: {
      outputs: ['dense'],
      normalize: true,
      truncate: true,
      ...(destination && { destination: qdrantDestination('docs') }),
    },
    counts: { documents: shards * DOCUMENTS, embedded: 0, written: 0, failed: 0 },
    tokens: 0,
    truncated: 0,
    textBytes: { total: shards * 10, done: 0 },
    shards: { total: shards, stored: 0, written: 0 },
    errors: [],
    createdAtMs: 1,
  };
}

function shard(ordinal: number): ShardRecord {
  return {
    ordinal,
    state: 'pending',
    documents: DOCUMENTS,
    textBytes: 10,
    inputKey: `input/job_a/${ordinal}`,
  };
}

function stored(failed: number, holder = 0): ShardStored {
  const embedded = DOCUMENTS - failed;
  return {
    type: 'shardStored',
    counts: { embedded, failed },
    rows: embedded,
    tokens: embedded * 7,
    tookMs: 1,
    truncated: 0,
    errors: Array.from({ length: failed }, (_, i) => ({ id: `${i}`, code: 'model_failed', message: 'no' })),
    ...(embedded > 0 && { resultKey: `result-of-${holder}` }),
  };
}

const SHARDS = 3;
const ACTORS = 4;

/** What an actor would begin, unless it is in the middle of something and does not crash. */
const step = fc.record({
  actor: fc.nat(ACTORS - 1),
  shard: fc.nat(SHARDS - 1),
  event: fc.constantFrom('store', 'store', 'store', 'store', 'sink', 'sink', 'cancel', 'pause', 'resume'),
  crash: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
});
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

interface Actor {
  plan?: Step;
  seen?: { job: JobRecord; shard: ShardRecord };
}

function decide({ event, actor }: Step, seen: NonNullable<Actor['seen']>, failed: number): Transition {
  const { job, shard } = seen;
  if (event === 'store') return applyToShard(job, shard, stored(failed, actor), 5);
  if (event !== 'sink') return applyToJob(job, { type: event } as JobEvent, 5);
  if (job.options.destination === undefined) return { ok: false, reason: 'ended' };
  return applyToShard(
    job,
    shard,
    { type: 'shardWritten', run: 1, documents: shard.counts?.embedded ?? 0, tookMs: 1 },
    5,
  );
}

/**
 * Actors go through begin → read → decide and compare-and-set, one step at a time and in any order; a crash
 * begins anew. Two actors with the same shard are two holders of it.
 */
test('whatever interleaves, each shard counts once, the job closes once, and an ended job never changes', async () => {
  const seenStatuses = new Set<string>();
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 60, maxLength: 150 }),
      fc.array(fc.constantFrom(0, 1, DOCUMENTS, DOCUMENTS), { minLength: SHARDS, maxLength: SHARDS }),
      fc.boolean(),
      async (steps, failures, destination) => {
        const store = new MemoryLedger();
        await store.commitJob(job(SHARDS, destination));
        await store.putShards('job_a', [0, 1, 2].map(shard));
        const actors: Actor[] = Array.from({ length: ACTORS }, () => ({}));
        let ended: JobRecord | undefined;
        for (const current of steps) {
          const { plan, seen } = actors[current.actor]!;
          if (plan === undefined || current.crash) actors[current.actor] = { plan: current };
          else if (seen === undefined) actors[current.actor] = { plan, seen: await read(store, plan.shard) };
          else {
            actors[current.actor] = {};
            const transition = decide(plan, seen, failures[plan.shard]!);
            if (transition.ok) await store.compareAndSwap(transition.job, transition.shards);
          }
          await checkInvariants(store, failures, destination);
          const now = (await store.readJob('job_a'))!;
          if (ended) assert.deepEqual(now, ended, 'an ended job has changed');
          if (isEnded(now)) ended = now;
        }
        seenStatuses.add((await store.readJob('job_a'))!.status);
      },
    ),
    { numRuns: 200 },
  );
  for (const status of ['completed', 'failed', 'cancelled'])
    assert.ok(seenStatuses.has(status), `no run ended ${status}`);
});

async function read(store: MemoryLedger, ordinal: number) {
  const job = (await store.readJob('job_a'))!;
  return { job, shard: (await store.readShards('job_a', ordinal, 1))[0]! };
}

async function checkInvariants(store: MemoryLedger, failures: number[], destination: boolean): Promise<void> {
  const record = (await store.readJob('job_a'))!;
  const shards = await store.readShards('job_a', 0, 10);
  const done = shards.filter(({ state }) => state !== 'pending');
  const written = shards.filter(({ state }) => state === 'written');
  const failed = done.reduce((sum, { ordinal }) => sum + failures[ordinal]!, 0);
  const embedded = done.length * DOCUMENTS - failed;
  const written0 = written.reduce((sum, { counts }) => sum + counts!.embedded, 0);
  assert.deepEqual(record.counts, {
    documents: SHARDS * DOCUMENTS,
    embedded,
    failed,
    written: destination ? written0 : 0,
  });
  assert.equal(record.tokens, embedded * 7);
  assert.equal(record.textBytes.done, done.length * 10);
  assert.deepEqual(record.shards, { total: SHARDS, stored: done.length, written: written.length });
  const finished = (destination ? written : done).length === SHARDS;
  if (finished && record.status !== 'cancelled')
    assert.equal(record.status, embedded > 0 ? 'completed' : 'failed');
  if (record.status === 'completed' || record.status === 'failed') assert.ok(finished);
  assert.equal(record.finishedAtMs !== undefined, isEnded(record));
}

test('a count that does not add up is refused, not recorded', () => {
  const event = { ...stored(0), counts: { embedded: 2, failed: 0 } };
  assert.throws(() => applyToShard(job(1, false), shard(0), event, 5), { code: 'internal' });
});

test('a job whose documents all failed has failed, and shows the first ten errors', () => {
  let current = job(4, false);
  for (let ordinal = 0; ordinal < 4; ordinal++) {
    const transition = applyToShard(current, shard(ordinal), stored(DOCUMENTS), 9);
    assert.ok(transition.ok);
    current = transition.job;
  }
  assert.equal(current.status, 'failed');
  assert.equal(current.errors.length, 10);
  assert.equal(current.counts.failed, 12);
});

test('the time a job is paused is none of its speed', () => {
  const speedAt = (of: JobRecord, nowMs: number) => jobView(of, nowMs).tokensPerSecond;
  const running = { ...job(4, false), status: 'running' as const, startedAtMs: 1000 };
  const shardAt = (of: JobRecord, ordinal: number, nowMs: number, tookMs: number) =>
    taken(applyToShard(of, shard(ordinal), { ...stored(0), tookMs }, nowMs)).job;
  const first = shardAt(running, 0, 2000, 1000);
  const paused = applyToJob(first, { type: 'pause' }, 3000);
  assert.ok(paused.ok);
  const resumed = applyToJob(paused.job, { type: 'resume' }, 20_000);
  assert.ok(resumed.ok);
  const second = shardAt(resumed.job, 1, 22_000, 2000);
  assert.deepEqual(
    [speedAt(first, 2000), speedAt(paused.job, 4000), speedAt(resumed.job, 21_000), speedAt(second, 22_000)],
    [21, null, null, 10.5],
  );
  const cancelled = applyToJob(second, { type: 'cancel' }, 60_000);
  assert.ok(cancelled.ok);
  assert.equal(speedAt(cancelled.job, 90_000), 14, 'two shards in three seconds');
});

test('a paused job resumes to what it was, and stores what ran when it was paused', () => {
  const paused = applyToJob(job(2, false), { type: 'pause' }, 2);
  assert.ok(paused.ok);
  const resumed = applyToJob(paused.job, { type: 'resume' }, 3);
  assert.ok(resumed.ok && resumed.job.status === 'queued');
  assert.deepEqual(applyToJob(paused.job, { type: 'start' }, 3), { ok: false, reason: 'paused' });
  const late = applyToShard(paused.job, shard(0), stored(0), 4);
  assert.ok(late.ok && late.job.status === 'paused' && late.job.counts.embedded === DOCUMENTS);
});

test('twenty holders race for ten shards: ten win, the job completes with exact counts', async () => {
  const store = new MemoryLedger();
  await store.commitJob(job(10, false));
  await store.putShards(
    'job_a',
    Array.from({ length: 10 }, (_, i) => shard(i)),
  );
  const ledger = new Ledger(store);
  const results = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      ledger.applyToShard({ jobId: 'job_a', ordinal: i % 10 }, stored(1, i)),
    ),
  );
  assert.equal(results.filter(({ ok }) => ok).length, 10);
  const record = (await store.readJob('job_a'))!;
  assert.equal(record.status, 'completed');
  assert.deepEqual(record.counts, { documents: 30, embedded: 20, written: 0, failed: 10 });
  assert.equal(record.version, 11);
});

const NOTHING_SENT = {
  points: 0,
  bytes: 0,
  retries: 0,
  slowDowns: 0,
  stalePoints: 0,
  colbertOverflowed: 0,
  refused: 0,
};

/** A job of one shard whose destination has something to put in order at the end. */
function sinkJob(): JobRecord {
  return {
    ...job(1, true),
    sink: { run: 1, collection: 'docs', indexing: 'toDefer', finished: false, counts: NOTHING_SENT },
  };
}

function taken(transition: Transition): { job: JobRecord; shard: ShardRecord } {
  assert.ok(transition.ok);
  return { job: transition.job, shard: transition.shards[0]! };
}

test('a job with a destination ends when all is written and put in order, not before', () => {
  const first = taken(applyToShard(sinkJob(), shard(0), stored(1), 5));
  assert.deepEqual([first.job.status, first.shard.state], ['queued', 'stored']);
  const counts = { ...NOTHING_SENT, points: 2, refused: 1 };
  const errors = [{ id: '1', code: 'sink_rejected' as const, message: 'no' }];
  const written = taken(
    applyToShard(
      first.job,
      first.shard,
      { type: 'shardWritten', run: 1, documents: 1, tookMs: 1, counts, errors, errorsKey: 'e' },
      6,
    ),
  );
  assert.deepEqual(
    [written.shard.state, written.shard.writtenRun, written.shard.errorsKey],
    ['written', 1, 'e'],
  );
  assert.deepEqual(written.job.counts, { documents: 3, embedded: 2, written: 1, failed: 1 });
  assert.deepEqual(written.job.sink?.counts, counts);
  assert.equal(isEnded(written.job), false);
  const again = applyToShard(
    written.job,
    written.shard,
    { type: 'shardWritten', run: 1, documents: 1, tookMs: 1 },
    7,
  );
  assert.deepEqual(again, { ok: false, reason: 'already_written' });
  const deferred = applyToJob(written.job, { type: 'sinkDeferred', run: 1, hnswM: 16 }, 7);
  assert.ok(deferred.ok);
  assert.deepEqual([deferred.job.sink?.indexing, deferred.job.sink?.hnswM], ['deferred', 16]);
  assert.deepEqual(applyToJob(deferred.job, { type: 'sinkDeferred', run: 1, hnswM: 0 }, 7), {
    ok: false,
    reason: 'no_sink',
  });
  const finished = applyToJob(deferred.job, { type: 'sinkFinished', run: 1 }, 8);
  assert.ok(finished.ok);
  assert.deepEqual([finished.job.status, finished.job.finishedAtMs], ['completed', 8]);
  assert.deepEqual(applyToJob(finished.job, { type: 'sinkFinished', run: 1 }, 9), {
    ok: false,
    reason: 'no_sink',
  });
});

test('a cancelled job can still be put in order, and stays cancelled', () => {
  const cancelled = applyToJob(sinkJob(), { type: 'cancel' }, 5);
  assert.ok(cancelled.ok);
  const error = { id: '', code: 'sink_rejected' as const, message: 'gone' };
  const finished = applyToJob(cancelled.job, { type: 'sinkFinished', run: 1, error }, 6);
  assert.ok(finished.ok);
  assert.deepEqual([finished.job.status, finished.job.sink?.finished], ['cancelled', true]);
  assert.deepEqual(finished.job.errors, [error]);
});

test('a cancelled job that leaves nothing to put in order waits for nothing any more', () => {
  const sink = { ...sinkJob().sink!, indexing: 'asIs' as const };
  const waiting = applyToJob({ ...sinkJob(), sink }, { type: 'sinkWaits', run: 1, reason: 'away' }, 5);
  assert.ok(waiting.ok && waiting.job.sink?.waiting);
  const cancelled = applyToJob(waiting.job, { type: 'cancel' }, 6);
  assert.ok(cancelled.ok);
  assert.deepEqual([cancelled.job.sink?.finished, cancelled.job.sink?.waiting], [true, undefined]);
});

test('a destination that took nothing fails the job', () => {
  const start = { ...sinkJob(), sink: { ...sinkJob().sink!, finished: true } };
  const first = taken(applyToShard(start, shard(0), stored(0), 5));
  const written = taken(
    applyToShard(first.job, first.shard, { type: 'shardWritten', run: 1, documents: 0, tookMs: 1 }, 6),
  );
  assert.equal(written.job.status, 'failed');
});

test('what is stored can be ingested again: a shard is written once in each ingestion', () => {
  const destination = qdrantDestination('other');
  const { run: _, ...sink } = { ...sinkJob().sink!, collection: 'other', finished: true };
  const event = { type: 'ingest' as const, destination, sink };
  assert.deepEqual(applyToJob(sinkJob(), event, 5), { ok: false, reason: 'not_ended' });
  let { job: current, shard: record } = taken(applyToShard(job(1, false), shard(0), stored(1), 5));
  for (const run of [1, 2, 3]) {
    const opened = applyToJob(current, event, 6);
    assert.ok(opened.ok);
    assert.deepEqual(
      [opened.job.status, opened.job.counts.written, opened.job.sink?.run],
      ['running', 0, run],
    );
    assert.equal(opened.job.finishedAtMs, undefined);
    const written = taken(
      applyToShard(opened.job, record, { type: 'shardWritten', run, documents: 2, tookMs: 1 }, 7),
    );
    assert.deepEqual([written.job.status, written.job.counts.written], ['completed', 2]);
    const twice = applyToShard(
      { ...written.job, status: 'running' },
      written.shard,
      { type: 'shardWritten', run, documents: 2, tookMs: 1 },
      7,
    );
    assert.deepEqual(twice, { ok: false, reason: 'already_written' });
    current = written.job;
    record = written.shard;
  }
  const open = { ...current, sink: { ...current.sink!, finished: false } };
  assert.deepEqual(applyToJob(open, event, 8), { ok: false, reason: 'sink_open' });
  const failed = taken(applyToShard(job(1, false), shard(0), stored(3), 5));
  assert.deepEqual(applyToJob(failed.job, event, 6), { ok: false, reason: 'nothing_stored' });
});

test('what an earlier ingestion still had to say is not taken for the next one', () => {
  const finished = { ...sinkJob().sink!, finished: true };
  const first = taken(applyToShard({ ...sinkJob(), sink: finished }, shard(0), stored(1), 5));
  const cancelled = applyToJob(first.job, { type: 'cancel' }, 6);
  assert.ok(cancelled.ok);
  const { run: _, ...sink } = { ...sinkJob().sink!, collection: 'other' };
  const destination = qdrantDestination('other');
  const second = applyToJob(cancelled.job, { type: 'ingest', destination, sink }, 7);
  assert.ok(second.ok);
  const late = { ok: false, reason: 'other_run' };
  const written = { type: 'shardWritten' as const, run: 1, documents: 2, tookMs: 1 };
  assert.deepEqual(applyToShard(second.job, first.shard, written, 8), late);
  assert.deepEqual(applyToJob(second.job, { type: 'sinkDeferred', run: 1, hnswM: 16 }, 8), late);
  assert.deepEqual(applyToJob(second.job, { type: 'sinkFinished', run: 1 }, 8), late);
  assert.ok(applyToShard(second.job, first.shard, { ...written, run: 2 }, 8).ok);
});
