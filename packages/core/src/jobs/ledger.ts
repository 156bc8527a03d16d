import { setTimeout as sleep } from 'node:timers/promises';
import { TrivecError } from '../errors.ts';
import type { LedgerStore } from '../ledger/ledgerStore.ts';
import type { ShardPointer } from '../queue/workQueue.ts';
import type { JobEvent, Refusal, ShardEvent, Transition } from './jobEvents.ts';
import type { JobRecord, ShardRecord } from './records.ts';
import { applyToJob, applyToShard, isEnded } from './stateMachine.ts';

/** `gone`: there is no such job (any more). */
export type LedgerResult = { ok: true; job: JobRecord } | { ok: false; reason: Refusal | 'gone' };

export type TakenShard =
  | { ok: true; job: JobRecord; shard: ShardRecord }
  | { ok: false; reason: Refusal | 'gone' };

/** Losing a compare-and-set means that somebody else got on; this many in a row means that something is wrong. */
const MAX_TRIES = 200;
const MAX_WAIT_MS = 50;
const PAGE = 500;

/** The records of jobs, changed only as the state machine allows. Errors: `backend_unavailable`. */
export class Ledger {
  readonly store: LedgerStore;
  private readonly now: () => number;

  constructor(store: LedgerStore, now: () => number = Date.now) {
    this.store = store;
    this.now = now;
  }

  applyToJob(jobId: string, event: JobEvent): Promise<LedgerResult> {
    return this.change(jobId, async (job) => applyToJob(job, event, this.now()));
  }

  applyToShard(pointer: ShardPointer, event: ShardEvent): Promise<LedgerResult> {
    return this.change(pointer.jobId, async (job) => {
      const shard = await this.readShard(pointer);
      return shard === undefined ? undefined : applyToShard(job, shard, event, this.now());
    });
  }

  /** Is there still something to embed here? Starts the job, if this is its first shard. */
  async take(pointer: ShardPointer): Promise<TakenShard> {
    let job = await this.store.readJob(pointer.jobId);
    if (job === undefined) return { ok: false, reason: 'gone' };
    if (job.status === 'paused') return { ok: false, reason: 'paused' };
    if (isEnded(job)) return { ok: false, reason: job.status === 'cancelled' ? 'cancelled' : 'ended' };
    const shard = await this.readShard(pointer);
    if (shard === undefined) return { ok: false, reason: 'gone' };
    if (shard.state !== 'pending') return { ok: false, reason: 'already_stored' };
    if (job.status === 'queued') {
      const started = await this.applyToJob(pointer.jobId, { type: 'start' });
      if (started.ok) job = started.job;
      else if (started.reason !== 'already_running') return started;
    }
    return { ok: true, job, shard };
  }

  async readShard(pointer: ShardPointer): Promise<ShardRecord | undefined> {
    const [shard] = await this.store.readShards(pointer.jobId, pointer.ordinal, 1);
    return shard?.ordinal === pointer.ordinal ? shard : undefined;
  }

  /** All shards from an ordinal on, in order, a page at a time. */
  async *shards(jobId: string, fromOrdinal = 0): AsyncGenerator<ShardRecord> {
    let from = fromOrdinal;
    while (true) {
      const page = await this.store.readShards(jobId, from, PAGE);
      yield* page;
      if (page.length < PAGE) return;
      from = page.at(-1)!.ordinal + 1;
    }
  }

  private async change(
    jobId: string,
    decide: (job: JobRecord) => Promise<Transition | undefined>,
  ): Promise<LedgerResult> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const job = await this.store.readJob(jobId);
      const transition = job && (await decide(job));
      if (transition === undefined) return { ok: false, reason: 'gone' };
      if (!transition.ok) return transition;
      if (await this.store.compareAndSwap(transition.job, transition.shards))
        return { ok: true, job: { ...transition.job, version: transition.job.version + 1 } };
      await sleep(Math.random() * Math.min(MAX_WAIT_MS, tries));
    }
    throw new TrivecError('backend_unavailable', `Job ${jobId} could not be changed in ${MAX_TRIES} tries.`);
  }
}
