import type { Backend } from '../backend/backend.ts';
import type { Config } from '../config.ts';
import { TrivecError } from '../errors.ts';
import type { ShardPointer, WorkQueue } from '../queue/workQueue.ts';
import type { BlobStore } from '../storage/blobStore.ts';
import type { Logger } from '../telemetry/logger.ts';
import { dequeue, enqueuePending, pendingOrdinals } from './enqueue.ts';
import { readErrors } from './errorsList.ts';
import { submitJob } from './intake.ts';
import { inputPrefix, resultsPrefix } from './keys.ts';
import { Ledger, type LedgerResult } from './ledger.ts';
import type { DocumentError, JobRecord } from './records.ts';
import { readResults } from './results.ts';
import { searchJob } from './search.ts';
import type {
  ResultPage,
  ResultQuery,
  SearchQuery,
  SearchResult,
  SubmitInput,
  Viewer,
} from './serviceTypes.ts';

export interface JobServiceDeps {
  backend: Backend;
  storage: BlobStore;
  config: Pick<
    Config,
    'maxJobDocuments' | 'maxJobBytes' | 'maxLineBytes' | 'shardMaxDocuments' | 'shardMaxBytes'
  >;
  logger: Logger;
}

/**
 * Everything a client can do with jobs. All methods throw TrivecErrors: `job_not_found` where the viewer
 * may not see the job, `backend_unavailable` and `storage_unavailable` for what may heal.
 */
export class JobService {
  private readonly deps: JobServiceDeps;
  private readonly ledger: Ledger;

  constructor(deps: JobServiceDeps) {
    this.deps = deps;
    this.ledger = new Ledger(deps.backend.ledger);
  }

  /**
   * Stores the documents as shards, commits the job, enqueues it. Resolves when a crash can no longer
   * lose it (answer 202); rejects with nothing left behind: `no_documents`, `invalid_line`,
   * `invalid_document`, `duplicate_id`, `too_many_documents`, `body_too_large`, `upload_aborted`,
   * `unknown_output`, `invalid_request`, `idempotency_conflict`, `storage_full`, …
   * The body is closed when it is refused half-way: pass one whose end does not close the socket
   * (`request.raw.iterator({destroyOnReturn: false})`), or the client never reads why.
   */
  async submit(input: SubmitInput): Promise<JobRecord> {
    const { backend, storage, config, logger } = this.deps;
    const { job, again } = await submitJob({ ledger: backend.ledger, storage, config, logger }, input);
    if (!again) await this.enqueue(job);
    return job;
  }

  async get(id: string, viewer: Viewer): Promise<JobRecord> {
    const job = await this.ledger.store.readJob(id);
    if (job === undefined || !(viewer.admin || job.owner === viewer.owner)) throw notFound(id);
    return job;
  }

  /** Newest first; an admin sees everyone's. */
  list(
    viewer: Viewer,
    page: { limit: number; cursor?: string },
  ): Promise<{ jobs: JobRecord[]; cursor?: string }> {
    return this.ledger.store.listJobs(viewer.admin ? page : { ...page, owner: viewer.owner });
  }

  /**
   * Ends the job now; what waits is freed, what is done stays readable. One that has ended by itself is
   * `job_conflict`; a cancelled one is answered as it is.
   */
  async cancel(id: string, viewer: Viewer): Promise<JobRecord> {
    const job = await this.get(id, viewer);
    const result = await this.ledger.applyToJob(id, { type: 'cancel' });
    if (!result.ok) return this.refused(result, job, viewer, 'cancelled');
    await this.dequeue(result.job);
    return result.job;
  }

  /** Nothing new is begun; what runs is finished. `job_conflict` for an ended job. */
  async pause(id: string, viewer: Viewer): Promise<JobRecord> {
    const job = await this.get(id, viewer);
    const result = await this.ledger.applyToJob(id, { type: 'pause' });
    if (!result.ok) return this.refused(result, job, viewer, 'already_paused');
    await this.dequeue(result.job);
    return result.job;
  }

  /** `job_conflict` for an ended job; one that was not paused is answered as it is. */
  async resume(id: string, viewer: Viewer): Promise<JobRecord> {
    const job = await this.get(id, viewer);
    const result = await this.ledger.applyToJob(id, { type: 'resume' });
    if (!result.ok) return this.refused(result, job, viewer, 'not_paused');
    await this.enqueue(result.job);
    return result.job;
  }

  /** The job, its documents and results, whatever its state. */
  async delete(id: string, viewer: Viewer): Promise<void> {
    const job = await this.get(id, viewer);
    // Ended first: no holder of a shard can store any more. Then the record, so that nobody finds half a job.
    await this.ledger.applyToJob(id, { type: 'cancel' });
    await this.dequeue(job);
    await this.ledger.store.deleteJob(id);
    await this.deps.storage.deletePrefix(resultsPrefix(id));
    await this.deps.storage.deletePrefix(inputPrefix(id));
  }

  /** The finished part from the start, or from a cursor, in input order; it may be empty. `invalid_cursor`. */
  async results(id: string, viewer: Viewer, query: ResultQuery): Promise<ResultPage> {
    return readResults(this.readers(), await this.get(id, viewer), query);
  }

  /** Every failed document so far, in input order. */
  async errors(id: string, viewer: Viewer): Promise<AsyncIterable<DocumentError>> {
    return readErrors(this.readers(), await this.get(id, viewer));
  }

  /** Exact search over what is stored so far. `invalid_request` where the job has not the output that the mode needs. */
  async search(id: string, viewer: Viewer, query: SearchQuery): Promise<SearchResult> {
    return searchJob(this.readers(), await this.get(id, viewer), query);
  }

  private readers() {
    return { ledger: this.ledger, storage: this.deps.storage };
  }

  private queue(job: JobRecord): WorkQueue<ShardPointer> {
    return this.deps.backend.shardQueue(job.model.fingerprint);
  }

  /** The job is committed: whatever fails here, the reconciler heals. */
  private async enqueue(job: JobRecord): Promise<void> {
    try {
      await enqueuePending(this.ledger, this.queue(job), job);
    } catch (error) {
      this.deps.logger.warn({ err: error, jobId: job.id }, 'enqueueing failed; the reconciler will do it');
    }
  }

  /** Only frees room: a worker that takes such a shard asks the ledger and drops it. */
  private async dequeue(job: JobRecord): Promise<void> {
    try {
      for await (const ordinals of pendingOrdinals(this.ledger, job.id))
        await dequeue(this.queue(job), job.id, ordinals);
    } catch (error) {
      this.deps.logger.warn({ err: error, jobId: job.id }, 'shards of a stopped job are left in the queue');
    }
  }

  /** A repeated call changes nothing and is answered with the job; any other refusal is a conflict. */
  private async refused(
    result: Extract<LedgerResult, { ok: false }>,
    job: JobRecord,
    viewer: Viewer,
    harmless: string,
  ): Promise<JobRecord> {
    if (result.reason === 'gone') throw notFound(job.id);
    const current = await this.get(job.id, viewer);
    if (result.reason === harmless) return current;
    throw new TrivecError('job_conflict', `The job is ${current.status} already.`);
  }
}

function notFound(id: string): TrivecError {
  return new TrivecError('job_not_found', `There is no job ${JSON.stringify(id.slice(0, 64))}.`);
}
