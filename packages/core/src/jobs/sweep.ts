import { TrivecError } from '../errors.ts';
import type { BlobStore } from '../storage/blobStore.ts';
import type { Logger } from '../telemetry/logger.ts';
import { INPUT_PREFIX, inputPrefix, isRetryKey, jobIdOfKey, RESULTS_PREFIX, resultsPrefix } from './keys.ts';
import type { Ledger } from './ledger.ts';
import type { JobRecord } from './records.ts';
import { isEnded } from './stateMachine.ts';
import { UPLOAD_SILENCE_MS } from './uploadWriter.ts';

/**
 * Twice the silence after which an upload gives itself up: nothing that still goes on is this old. Younger blobs may
 * be of an upload, a retry or an attempt that has stored, but not yet recorded, what it made.
 */
export const DEAD_UPLOAD_AFTER_MS = 2 * UPLOAD_SILENCE_MS;

export interface SweepDeps {
  ledger: Ledger;
  storage: BlobStore;
  logger: Logger;
}

/**
 * Removes what crashes left in the storage: uploads that were never committed, results of deleted jobs,
 * and the blobs of attempts that lost. A blob whose attempt could still win is never touched, nor a young one: the
 * job may have been opened again since its record was read.
 */
export async function sweepStorage(deps: SweepDeps, nowMs: number, signal?: AbortSignal): Promise<void> {
  const newestAtMs = new Map<string, number>();
  for (const prefix of [INPUT_PREFIX, RESULTS_PREFIX])
    for await (const { key, modifiedAtMs } of deps.storage.list(prefix)) {
      const jobId = jobIdOfKey(key);
      newestAtMs.set(jobId, Math.max(modifiedAtMs, newestAtMs.get(jobId) ?? 0));
    }
  for (const [jobId, atMs] of newestAtMs) {
    if (signal?.aborted) return;
    await eachAlone(deps.logger, jobId, async () => {
      const job = await deps.ledger.store.readJob(jobId);
      if (job !== undefined) await removeLosers(deps, job, nowMs);
      else if (nowMs - atMs > DEAD_UPLOAD_AFTER_MS) await removeDeadUpload(deps, jobId);
    });
  }
}

/** A job in trouble keeps none of the others waiting. Throws `backend_unavailable`: that is the trouble of all. */
export async function eachAlone(logger: Logger, jobId: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof TrivecError && error.code === 'backend_unavailable') throw error;
    logger.warn({ err: error, jobId }, 'looking after a job failed; it is tried again');
  }
}

async function removeDeadUpload({ ledger, storage, logger }: SweepDeps, jobId: string): Promise<void> {
  // Blobs last: while one is there, the next sweep finds the job again.
  await ledger.store.deleteJob(jobId);
  await storage.deletePrefix(resultsPrefix(jobId));
  await storage.deletePrefix(inputPrefix(jobId));
  logger.info({ jobId }, 'removed what a dead upload or a deleted job had left');
}

async function removeLosers(
  { ledger, storage, logger }: SweepDeps,
  job: JobRecord,
  nowMs: number,
): Promise<void> {
  const unknown = new Map<string, number>();
  const isOld = ({ modifiedAtMs }: { modifiedAtMs: number }) => nowMs - modifiedAtMs > DEAD_UPLOAD_AFTER_MS;
  for await (const blob of storage.list(resultsPrefix(job.id)))
    if (isOld(blob)) unknown.set(blob.key, ordinalOf(blob.key));
  for await (const blob of storage.list(inputPrefix(job.id)))
    if (isRetryKey(blob.key) && isOld(blob)) unknown.set(blob.key, -1);
  if (unknown.size === 0) return;
  const open = new Set<number>();
  for await (const shard of ledger.shards(job.id)) {
    if (shard.resultKey !== undefined) unknown.delete(shard.resultKey);
    if (shard.errorsKey !== undefined) unknown.delete(shard.errorsKey);
    if (shard.state === 'pending' && !isEnded(job)) open.add(shard.ordinal);
    unknown.delete(shard.inputKey);
  }
  const losers = [...unknown].flatMap(([key, ordinal]) => (open.has(ordinal) ? [] : [key]));
  if (losers.length === 0) return;
  await storage.delete(losers);
  logger.info({ jobId: job.id, blobs: losers.length }, 'removed results of attempts that lost');
}

function ordinalOf(key: string): number {
  return Number.parseInt(key.slice(key.lastIndexOf('/') + 1), 10);
}
