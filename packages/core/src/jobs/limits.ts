import type { Config } from '../config.ts';
import { TrivecError } from '../errors.ts';
import type { LedgerStore } from '../ledger/ledgerStore.ts';
import type { BlobStore } from '../storage/blobStore.ts';
import { isEnded } from './stateMachine.ts';

export interface LimitDeps {
  ledger: LedgerStore;
  storage: BlobStore;
  config: Pick<Config, 'maxOpenJobs' | 'maxBacklogShards' | 'minFreeBytes'>;
}

const RETRY_AFTER_SECONDS = 30;
const READS_AT_ONCE = 64;
/** Requests that come within this time are judged by one look at the open jobs. */
const KNOWN_FOR_MS = 500;

interface OpenJobs {
  /** Of each owner. */
  jobs: ReadonlyMap<string, number>;
  /** That wait to be embedded: those of paused jobs do not. */
  shards: number;
}

/**
 * Is there room for one more job? Asked before its body is read. However many ask at once, the open jobs are read once;
 * what this process itself adds or ends counts at once (`changed`), what others do, half a second later.
 */
export class Room {
  private readonly deps: LimitDeps;
  private known: { open: Promise<OpenJobs>; atMs: number } | undefined;

  constructor(deps: LimitDeps) {
    this.deps = deps;
  }

  changed(): void {
    this.known = undefined;
  }

  /**
   * Throws `overloaded` where the owner has too many open jobs, or all open jobs together too many shards still to
   * embed, and `storage_full` where little room is left.
   */
  async check(owner: string): Promise<void> {
    const { storage, config } = this.deps;
    const free = await storage.freeBytes();
    if (free !== undefined && free < config.minFreeBytes)
      throw new TrivecError(
        'storage_full',
        `The storage has ${free} bytes left; a new job needs ${config.minFreeBytes} (MIN_FREE_BYTES).`,
        { retryAfterSeconds: RETRY_AFTER_SECONDS },
      );
    const { jobs, shards } = await this.openJobs();
    const own = jobs.get(owner) ?? 0;
    if (own >= config.maxOpenJobs)
      throw new TrivecError(
        'overloaded',
        `You have ${own} open jobs; ${config.maxOpenJobs} are allowed (MAX_OPEN_JOBS).`,
        { retryAfterSeconds: RETRY_AFTER_SECONDS },
      );
    if (shards >= config.maxBacklogShards)
      throw new TrivecError(
        'overloaded',
        `${shards} shards wait to be embedded; above ${config.maxBacklogShards} (MAX_BACKLOG_SHARDS) no job is taken.`,
        { retryAfterSeconds: RETRY_AFTER_SECONDS },
      );
  }

  private async openJobs(): Promise<OpenJobs> {
    if (this.known === undefined || Date.now() - this.known.atMs > KNOWN_FOR_MS)
      this.known = { open: readOpenJobs(this.deps.ledger), atMs: Date.now() };
    const { known } = this;
    try {
      return await known.open;
    } catch (error) {
      if (this.known === known) this.known = undefined;
      throw error;
    }
  }
}

async function readOpenJobs(ledger: LedgerStore): Promise<OpenJobs> {
  const ids = await ledger.listOpenJobs();
  const jobs = new Map<string, number>();
  let shards = 0;
  for (let i = 0; i < ids.length; i += READS_AT_ONCE)
    for (const job of await Promise.all(ids.slice(i, i + READS_AT_ONCE).map((id) => ledger.readJob(id)))) {
      if (job === undefined || isEnded(job)) continue;
      jobs.set(job.owner, (jobs.get(job.owner) ?? 0) + 1);
      if (job.status !== 'paused') shards += job.shards.total - job.shards.stored;
    }
  return { jobs, shards };
}
