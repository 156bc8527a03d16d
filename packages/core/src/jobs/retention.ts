import { isOpen } from '../ledger/jobCursor.ts';
import type { BlobStore } from '../storage/blobStore.ts';
import type { Logger } from '../telemetry/logger.ts';
import { inputPrefix, resultsPrefix } from './keys.ts';
import type { Ledger } from './ledger.ts';
import type { JobRecord } from './records.ts';
import { eachAlone } from './sweep.ts';

const PAGE = 100;

/** Whether a job has ended for longer than it is kept, and nothing is left to be done for it. */
function hasExpired(job: JobRecord, nowMs: number): boolean {
  const { retentionMs } = job.options;
  if (retentionMs === undefined || job.finishedAtMs === undefined || isOpen(job)) return false;
  return nowMs - job.finishedAtMs >= retentionMs;
}

/** Deletes expired jobs with their documents and results. */
export async function expireJobs(
  { ledger, storage, logger }: { ledger: Ledger; storage: BlobStore; logger: Logger },
  nowMs: number,
  signal?: AbortSignal,
): Promise<void> {
  let cursor: string | undefined;
  do {
    const page = await ledger.store.listJobs({ limit: PAGE, ...(cursor !== undefined && { cursor }) });
    for (const listed of page.jobs) {
      if (signal?.aborted) return;
      if (!hasExpired(listed, nowMs)) continue;
      // The deletions before it take their time: a client may have opened it again since it was listed.
      await eachAlone(logger, listed.id, async () => {
        const job = await ledger.store.readJob(listed.id);
        if (job === undefined || !hasExpired(job, nowMs)) return;
        // The record first: nobody finds half a job, and the sweep finds the blobs should this process die.
        await ledger.store.deleteJob(job.id);
        await storage.deletePrefix(resultsPrefix(job.id));
        await storage.deletePrefix(inputPrefix(job.id));
        logger.info({ jobId: job.id }, 'deleted a job at the end of its retention');
      });
    }
    cursor = page.cursor;
  } while (cursor !== undefined);
}
