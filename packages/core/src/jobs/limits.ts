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

/**
 * Is there room for one more job? Asked before its body is read. Throws `overloaded` where the owner has too many open
 * jobs, or all open jobs together too many shards still to embed, and `storage_full` where little room is left.
 */
export async function checkRoom({ ledger, storage, config }: LimitDeps, owner: string): Promise<void> {
  const free = await storage.freeBytes();
  if (free !== undefined && free < config.minFreeBytes)
    throw new TrivecError(
      'storage_full',
      `The storage has ${free} bytes left; a new job needs ${config.minFreeBytes} (MIN_FREE_BYTES).`,
      { retryAfterSeconds: RETRY_AFTER_SECONDS },
    );
  const ids = await ledger.listOpenJobs();
  let own = 0;
  let shards = 0;
  for (let i = 0; i < ids.length; i += READS_AT_ONCE)
    for (const job of await Promise.all(ids.slice(i, i + READS_AT_ONCE).map((id) => ledger.readJob(id)))) {
      if (job === undefined || isEnded(job)) continue;
      if (job.owner === owner) own++;
      shards += job.shards.total - job.shards.stored;
    }
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
