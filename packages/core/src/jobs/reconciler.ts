import type { Backend } from '../backend/backend.ts';
import type { BlobStore } from '../storage/blobStore.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { WebhookSender } from '../webhooks/sender.ts';
import { enqueuePending, enqueueStored } from './enqueue.ts';
import { Ledger } from './ledger.ts';
import { Outbox } from './outbox.ts';
import { hasRoomAgain } from './pausing.ts';
import type { JobRecord } from './records.ts';
import { expireJobs } from './retention.ts';
import { eachAlone, sweepStorage } from './sweep.ts';
import { awaitsSink, isSinkServed, unservedReason } from './unservedSink.ts';

export interface ReconcilerDeps {
  backend: Backend;
  storage: BlobStore;
  config: { reconcileIntervalMs: number };
  logger: Logger;
  /** Delivers webhooks; without it somebody else's reconciler does. */
  webhooks?: Pick<WebhookSender, 'send'>;
}

const EXPIRE_INTERVAL_MS = 10 * 60 * 1000;
const SWEEP_INTERVAL_MS = 60 * 60 * 1000;
/** Of an interval. Whoever did it last may do it again: less than the shortest that jitter makes. */
const CLAIMED_PART = 0.7;

/**
 * Heals what a crash left between two steps: enqueues every committed shard that is neither done nor queued,
 * at start and periodically, resumes what a full storage has paused, tells webhooks, deletes jobs at the end of their
 * retention, and sweeps the storage at start and hourly. Any number of processes may run one: each tells webhooks and
 * heals at its start; of all else, one at a time has its turn.
 */
export class Reconciler {
  private readonly deps: ReconcilerDeps;
  private readonly ledger: Ledger;
  private readonly closing = new AbortController();
  private timer: NodeJS.Timeout | undefined;
  private running: Promise<void> = Promise.resolve();
  private isFirstRound = true;
  private sweepAtMs = 0;
  private expireAtMs = 0;
  private readonly outbox: Outbox | undefined;

  constructor(deps: ReconcilerDeps) {
    this.deps = deps;
    this.ledger = new Ledger(deps.backend.ledger);
    const { webhooks: sender, logger } = deps;
    this.outbox = sender && new Outbox({ ledger: this.ledger, sender, logger });
  }

  /** The first round begins at once. */
  start(): void {
    if (this.timer === undefined && !this.closing.signal.aborted) this.schedule(0);
  }

  /** Waits for a round that runs. Idempotent. */
  async close(): Promise<void> {
    this.closing.abort();
    clearTimeout(this.timer);
    await this.running;
    await this.outbox?.close();
  }

  /**
   * Tells webhooks and, unless `heals` is false, enqueues what no queue knows. A job in trouble keeps none of the others
   * waiting. Throws `backend_unavailable`.
   */
  async reconcile(heals = true): Promise<void> {
    for (const jobId of await this.ledger.store.listOpenJobs()) {
      if (this.closing.signal.aborted) return;
      await eachAlone(this.deps.logger, jobId, async () => {
        const job = await this.ledger.store.readJob(jobId);
        if (job === undefined) return;
        this.outbox?.offer(job, Date.now());
        if (heals) await this.heal(job);
      });
    }
  }

  /** Reads all shards of the job that are not done, and asks the queue for each. */
  private async heal(found: JobRecord): Promise<void> {
    const job = await this.resumeWithRoom(found);
    const jobId = job.id;
    const passed = await enqueueStored(this.ledger, (target) => this.deps.backend.sinkQueue(target), job);
    if (passed > 0)
      this.deps.logger.info({ jobId, shards: passed }, 'passed stored shards to the sink queue');
    await this.noteUnserved(job);
    if (job.status !== 'queued' && job.status !== 'running') return;
    const queue = this.deps.backend.shardQueue(job.model.fingerprint);
    const added = await enqueuePending(this.ledger, queue, job);
    if (added > 0) this.deps.logger.info({ jobId, shards: added }, 'enqueued shards that no queue knew');
  }

  /** A queue that nobody serves says nothing: the job does. Whoever writes its next shard takes that back. */
  private async noteUnserved(job: JobRecord): Promise<void> {
    if (job.sink === undefined || !awaitsSink(job)) return;
    const { registry } = this.deps.backend;
    const workers = await registry.list();
    if (isSinkServed(job, workers)) return;
    const reason = unservedReason(job, workers, await registry.listStarting());
    if (reason === job.sink.waiting?.reason) return;
    const noted = await this.ledger.applyToJob(job.id, { type: 'sinkWaits', run: job.sink.run, reason });
    if (noted.ok) this.deps.logger.warn({ jobId: job.id, reason }, 'nobody takes a job to its destination');
  }

  /** A job that a full storage has paused goes on when there is room. */
  private async resumeWithRoom(job: JobRecord): Promise<JobRecord> {
    if (job.pausedReason !== 'storage_full' || !(await hasRoomAgain(this.deps.storage))) return job;
    const resumed = await this.ledger.applyToJob(job.id, { type: 'resume', reason: 'storage_full' });
    if (!resumed.ok) return job;
    this.deps.logger.info({ jobId: job.id }, 'there is room again: the job goes on');
    return resumed.job;
  }

  private schedule(delayMs: number): void {
    this.timer = setTimeout(() => {
      this.running = this.round().then(() => {
        // Jitter: processes that started together must not look at the same moment for ever.
        const jitter = 0.8 + Math.random() * 0.4;
        if (!this.closing.signal.aborted) this.schedule(this.deps.config.reconcileIntervalMs * jitter);
      });
    }, delayMs);
    this.timer.unref();
  }

  private async round(): Promise<void> {
    try {
      await this.reconcile(await this.isOurTurn());
    } catch (error) {
      this.deps.logger.warn({ err: error }, 'looking for lost shards failed; it is tried again');
      return;
    }
    const { storage, logger } = this.deps;
    const deps = { ledger: this.ledger, storage, logger };
    const { signal } = this.closing;
    const nowMs = Date.now();
    if (nowMs >= this.expireAtMs) {
      this.expireAtMs = nowMs + EXPIRE_INTERVAL_MS * (0.8 + Math.random() * 0.4);
      await this.attempt('deleting expired jobs', EXPIRE_INTERVAL_MS, () => expireJobs(deps, nowMs, signal));
    }
    if (nowMs >= this.sweepAtMs && !signal.aborted) {
      this.sweepAtMs = nowMs + SWEEP_INTERVAL_MS * (0.8 + Math.random() * 0.4);
      await this.attempt('sweeping the storage', SWEEP_INTERVAL_MS, () => sweepStorage(deps, nowMs, signal));
    }
  }

  /** At its start a process heals at once: maybe what it left behind itself when it died. */
  private async isOurTurn(): Promise<boolean> {
    const isFirst = this.isFirstRound;
    this.isFirstRound = false;
    const { backend, config } = this.deps;
    return (await backend.claim('healing-jobs', config.reconcileIntervalMs * CLAIMED_PART)) || isFirst;
  }

  /** Unless another process has done it just now. */
  private async attempt(what: string, intervalMs: number, work: () => Promise<void>): Promise<void> {
    try {
      const isOurs = await this.deps.backend.claim(what.replaceAll(' ', '-'), intervalMs * CLAIMED_PART);
      if (isOurs) await work();
    } catch (error) {
      this.deps.logger.warn({ err: error }, `${what} failed; it is tried again`);
    }
  }
}
