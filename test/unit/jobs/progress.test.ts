import assert from 'node:assert/strict';
import test from 'node:test';
import { jobView } from '@trivec/core/jobs/jobView';
import { etaSeconds, noteShard, type Progress, tokensPerSecond } from '@trivec/core/jobs/progress';
import type { JobRecord } from '@trivec/core/jobs/records';
import fc from 'fast-check';
import { jobRig } from '../../support/jobRig.ts';

const SHARDS = 1000;
const SHARD_TOKENS = 500;
const MINUTE_MS = 60_000;

const RECORD: JobRecord = {
  ...(await jobRig().submit([{ id: 'a', text: 'a' }])),
  status: 'running',
  startedAtMs: 0,
  tokens: 0,
  textBytes: { total: SHARDS * 2000, done: 0 },
  shards: { total: SHARDS, stored: 0, written: 0 },
};

type Kind = 'embedded' | 'written';

/** A job after shards that ended at these moments. */
function after(ends: readonly { atMs: number; tookMs: number; kind?: Kind }[], start = RECORD): JobRecord {
  let job = start;
  for (const { atMs, tookMs, kind = 'embedded' } of ends) {
    const isEmbedded = kind === 'embedded';
    const { tokens, textBytes, shards } = job;
    const next: JobRecord = {
      ...job,
      tokens: tokens + (isEmbedded ? SHARD_TOKENS : 0),
      textBytes: { ...textBytes, done: textBytes.done + (isEmbedded ? 2000 : 0) },
      shards: {
        ...shards,
        stored: shards.stored + (isEmbedded ? 1 : 0),
        written: shards.written + (isEmbedded ? 0 : 1),
      },
    };
    const sampleOf = (of: JobRecord) => ({
      atMs,
      tokens: of.tokens,
      textBytes: of.textBytes.done,
      written: of.shards.written,
    });
    const progress = noteShard(job.progress, {
      was: sampleOf(job),
      after: sampleOf(next),
      tookMs,
      isEmbedded,
    });
    job = { ...next, progress };
  }
  return job;
}

/** Shards one after the other. */
function steady(fromMs: number, count: number, tookMs: number, kind: Kind = 'embedded') {
  return Array.from({ length: count }, (_, i) => ({ atMs: fromMs + (i + 1) * tookMs, tookMs, kind }));
}

test('a job that goes on steadily has its speed and the time left, whatever a shard takes', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 100, max: 600_000 }),
      fc.integer({ min: 1, max: 200 }),
      fc.integer({ min: 1, max: 3 }),
      (tookMs, count, atOnce) => {
        const ends = steady(0, count, tookMs).flatMap((end) => Array.from({ length: atOnce }, () => end));
        const job = after(ends);
        const nowMs = count * tookMs;
        const expected = (SHARD_TOKENS * atOnce * 1000) / tookMs;
        assert.ok(Math.abs(tokensPerSecond(job, nowMs)! - expected) <= 0.05 + 1e-9, `${expected}`);
        const left = ((SHARDS - count * atOnce) * tookMs) / 1000 / atOnce;
        assert.ok(Math.abs(etaSeconds(job, nowMs)! - left) <= 1, `${left}`);
        assert.ok(job.progress!.samples.length <= 9, `${job.progress!.samples.length} samples`);
      },
    ),
    { numRuns: 300 },
  );
});

test('no speed before the first shard, nor when nothing has ended for a minute', () => {
  assert.deepEqual([tokensPerSecond(RECORD, 5), etaSeconds(RECORD, 5)], [null, null]);
  const job = after(steady(0, 10, 1000));
  assert.deepEqual([tokensPerSecond(job, 15_000), etaSeconds(job, 15_000)], [500, 990]);
  const late = 10_000 + MINUTE_MS + 1;
  assert.deepEqual([tokensPerSecond(job, late), etaSeconds(job, late)], [null, null]);
  const slow = after(steady(0, 2, 5 * MINUTE_MS));
  assert.ok(tokensPerSecond(slow, 24 * MINUTE_MS) !== null, 'a shard that takes minutes is still on its way');
});

test('hours in which nobody worked on it are no part of the speed, nor of the average', () => {
  const before = steady(0, 100, 1000);
  const job = after([...before, ...steady(5 * 3_600_000, 1, 1000)]);
  const nowMs = 5 * 3_600_000 + 1000;
  assert.equal(tokensPerSecond(job, nowMs), 500);
  const done = { ...job, shards: { ...job.shards, stored: SHARDS }, finishedAtMs: nowMs };
  assert.equal(tokensPerSecond(done, nowMs + 1e9), 500);
  assert.equal(etaSeconds(done, nowMs), 0);
});

test('a new speed is the speed after a minute', () => {
  const job = after([...steady(0, 100, 1000), ...steady(100_000, 40, 2000)]);
  assert.equal(tokensPerSecond(job, 180_000), 250);
});

test('while only Qdrant is written, the speed is that of embedding, and the time left that of writing', () => {
  const start = { ...RECORD, shards: { total: 100, stored: 0, written: 0 }, sink: {} as JobRecord['sink'] };
  const job = after([...steady(0, 100, 1000), ...steady(100_000, 20, 5000, 'written')], start as JobRecord);
  assert.equal(tokensPerSecond(job, 200_000), 500);
  assert.equal(etaSeconds(job, 200_000), 400);
  const stuck = after(steady(0, 50, 1000), start as JobRecord);
  assert.equal(etaSeconds(stuck, 50_000), null, 'nothing is written');
});

test('without a worker there is neither, and the job says what it waits for', () => {
  const job = after(steady(0, 10, 1000));
  const none = jobView(job, 11_000, new Set(['another']));
  assert.deepEqual([none.tokensPerSecond, none.etaSeconds, none.waitingFor], [null, null, 'worker']);
  const served = jobView(job, 11_000, new Set([job.model.fingerprint]));
  assert.deepEqual([served.tokensPerSecond, served.etaSeconds, served.waitingFor], [500, 990, null]);
  for (const status of ['paused', 'completed', 'failed', 'cancelled'] as const)
    assert.equal(jobView({ ...job, status }, 11_000, new Set()).waitingFor, null, status);
  const embedded = { ...job, shards: { ...job.shards, stored: SHARDS } };
  assert.equal(jobView(embedded, 11_000, new Set()).waitingFor, null);
});

test('a clock that goes back harms nothing', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({ atMs: fc.integer({ min: 0, max: 1e6 }), tookMs: fc.integer({ min: -5, max: 1e5 }) }),
      ),
      fc.integer({ min: 0, max: 2e6 }),
      (ends, nowMs) => {
        const job = after(ends);
        for (const value of [tokensPerSecond(job, nowMs), etaSeconds(job, nowMs)])
          assert.ok(value === null || (Number.isFinite(value) && value >= 0), `${value}`);
        const { samples, embeddingMs }: Progress = job.progress ?? {
          samples: [],
          shardMs: 0,
          embeddingMs: 0,
        };
        assert.ok(embeddingMs >= 0 && samples.length <= ends.length + 1);
      },
    ),
  );
});
