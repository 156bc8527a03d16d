import { randomBytes } from 'node:crypto';
import type { Backend } from '../backend/backend.ts';
import type { Config } from '../config.ts';
import type { ReplyTo, TokenizeTask } from '../engine/tasks.ts';
import { TrivecError } from '../errors.ts';
import { idempotencyDigest } from '../ledger/idempotency.ts';
import { type RequestedDestination, resolveDestination } from '../sinks/qdrant/destination.ts';
import type { QdrantSinks } from '../sinks/qdrant/open.ts';
import type { BlobStore } from '../storage/blobStore.ts';
import type { Logger } from '../telemetry/logger.ts';
import { listCursor, listPosition } from './cursor.ts';
import { dryRun } from './dryRun.ts';
import { readErrors } from './errorsList.ts';
import { type IntakeInput, pinnedModel, submitJob } from './intake.ts';
import { JobQueues } from './jobQueues.ts';
import { inputPrefix, newJobId, resultsPrefix } from './keys.ts';
import { Ledger, type LedgerResult } from './ledger.ts';
import { Room } from './limits.ts';
import type { DocumentError, JobOptions, JobRecord } from './records.ts';
import { readResults } from './results.ts';
import { isRetrying, planRetry } from './retry.ts';
import { searchJob } from './search.ts';
import type {
  DryRunReport,
  ResultPage,
  ResultQuery,
  SearchQuery,
  SearchResult,
  SubmitInput,
  Viewer,
} from './serviceTypes.ts';
import { settleSink } from './sinkFinish.ts';
import { makeSink, planSink } from './sinkPlan.ts';
import { openSource } from './sources.ts';
import { applyToJob, isEnded } from './stateMachine.ts';

export interface JobServiceDeps {
  backend: Backend;
  storage: BlobStore;
  config: Pick<
    Config,
    | 'maxJobDocuments'
    | 'maxJobBytes'
    | 'maxLineBytes'
    | 'shardMaxDocuments'
    | 'shardMaxBytes'
    | 'sourceDirs'
    | 'maxOpenJobs'
    | 'maxBacklogShards'
    | 'minFreeBytes'
    | 'requestTimeoutMs'
  > &
    Partial<Pick<Config, 'allowPrivateWebhooks' | 'jobRetentionMs'>>;
  logger: Logger;
  /** What a `destination` needs; none where QDRANT_URL is not set. */
  qdrant?: QdrantSinks;
}

/**
 * Everything a client can do with jobs. All methods throw TrivecErrors: `job_not_found` where the viewer
 * may not see the job, `backend_unavailable` and `storage_unavailable` for what may heal.
 */
export class JobService {
  private readonly deps: JobServiceDeps;
  private readonly ledger: Ledger;
  private readonly queues: JobQueues;
  private readonly room: Room;

  constructor(deps: JobServiceDeps) {
    this.deps = deps;
    this.ledger = new Ledger(deps.backend.ledger);
    this.queues = new JobQueues(deps.backend, this.ledger, deps.logger);
    const { storage, config } = deps;
    this.room = new Room({ ledger: deps.backend.ledger, storage, config });
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
    const { backend, ...deps } = this.deps;
    const { job, again } = await submitJob({ ...deps, ledger: backend.ledger }, this.readable(input));
    this.room.changed();
    if (!again) await this.queues.enqueue(job);
    return job;
  }

  /**
   * Is there room for another job of this owner? To be asked before its body is read: `overloaded`,
   * `storage_full`. A request that only repeats one is always let through.
   */
  async admit(owner: string, idempotencyKey?: string): Promise<void> {
    const { ledger } = this.deps.backend;
    if (idempotencyKey !== undefined) {
      const known = await ledger.readKeyedJob(idempotencyDigest(owner, idempotencyKey));
      if (known !== undefined) return;
    }
    await this.room.check(owner);
  }

  /** Reads the documents as `submit` would, and stores nothing. `model_unavailable` where no worker can count tokens. */
  async dryRun(input: SubmitInput): Promise<DryRunReport> {
    const { backend, config } = this.deps;
    const { fingerprint } = input.model;
    const workers = (await backend.registry.list()).filter(({ model }) => model.fingerprint === fingerprint);
    const tokensPerSecond = workers.reduce((sum, worker) => sum + worker.tokensPerSecond, 0);
    const tokenize = (task: TokenizeTask) =>
      backend.interactive.request<TokenizeTask, ReplyTo<TokenizeTask>>(fingerprint, task, {
        deadlineAtMs: Date.now() + config.requestTimeoutMs,
        ...(input.signal !== undefined && { signal: input.signal }),
      });
    const maxTextTokens = Math.min(
      input.model.maxTokens,
      ...workers.flatMap(({ maxBulkTokens }) => maxBulkTokens ?? []),
    );
    const checkDestination = async (options: JobOptions) =>
      options.destination &&
      planSink(this.deps.qdrant, options.destination, {
        jobId: newJobId(Date.now()),
        outputs: options.outputs,
        ...pinnedModel(input, options),
      });
    const deps = { config, tokenize, checkDestination, tokensPerSecond, maxTextTokens };
    return dryRun(deps, this.readable(input));
  }

  /** A source that is only named becomes one to read; the name is what makes two requests the same. */
  private readable(input: SubmitInput): IntakeInput {
    const { source, ...rest } = input;
    if (source.format !== 'server') return { ...rest, source };
    const opened = openSource(this.deps, input.owner, source.at);
    return { ...rest, source: opened, identity: JSON.stringify(source.at) };
  }

  async get(id: string, viewer: Viewer): Promise<JobRecord> {
    // A NUL is no text to Postgres: no id has one.
    const job = id.includes('\0') ? undefined : await this.ledger.store.readJob(id);
    if (job === undefined || !(viewer.admin || job.owner === viewer.owner)) throw notFound(id);
    return job;
  }

  /** Newest first; an admin sees everyone's. `invalid_cursor` also for one of another key's list. */
  async list(
    viewer: Viewer,
    { limit, cursor }: { limit: number; cursor?: string },
  ): Promise<{ jobs: JobRecord[]; cursor?: string }> {
    const owner = viewer.admin ? undefined : viewer.owner;
    const page = await this.ledger.store.listJobs({
      limit,
      ...(owner !== undefined && { owner }),
      ...(cursor !== undefined && { cursor: listPosition(owner, cursor) }),
    });
    return {
      jobs: page.jobs,
      ...(page.cursor !== undefined && { cursor: listCursor(owner, page.cursor) }),
    };
  }

  /**
   * Ends the job now; what waits is freed, what is done stays readable. One that has ended by itself is
   * `job_conflict`; a cancelled one is answered as it is.
   */
  async cancel(id: string, viewer: Viewer): Promise<JobRecord> {
    const job = await this.get(id, viewer);
    const result = await this.ledger.applyToJob(id, { type: 'cancel' });
    if (!result.ok) return this.refused(result, job, viewer, 'cancelled');
    this.room.changed();
    await this.queues.dequeue(result.job);
    // What was put off at the destination is restored.
    await this.queues.passOn(result.job);
    return result.job;
  }

  /**
   * Sends what the job has stored to a destination (again, or to another one). `job_conflict` while it runs or
   * where it has no results; `collection_conflict`, `sink_unavailable`, `sink_rejected`, `invalid_request`.
   */
  async ingest(id: string, viewer: Viewer, requested: RequestedDestination): Promise<JobRecord> {
    const job = await this.get(id, viewer);
    if (!isEnded(job)) throw new TrivecError('job_conflict', `The job is ${job.status}; it must have ended.`);
    const destination = resolveDestination(requested);
    const { outputs } = job.options;
    // An ingestion has a name of its own: a replacement of an earlier one, or one asked for at the same moment, may stand aside still.
    const source = { jobId: `${id}_${randomBytes(4).toString('hex')}`, outputs, ...job.model };
    const plan = await planSink(this.deps.qdrant, destination, source);
    const { state, undo } = await makeSink(this.deps.qdrant, plan);
    const result = await this.ledger.applyToJob(id, { type: 'ingest', destination, sink: state });
    if (!result.ok) {
      await undo();
      if (result.reason === 'gone') throw notFound(id);
      throw new TrivecError('job_conflict', INGEST_REFUSALS[result.reason] ?? `The job is ${job.status}.`);
    }
    this.room.changed();
    await this.queues.passOn(result.job);
    return result.job;
  }

  /**
   * Embeds the failed documents again, in shards of their own: their results stand behind the others. `job_conflict`
   * while the job runs for the first time, for a cancelled one, and where nothing has failed that could be tried again;
   * while a retry runs, the job is answered as it is.
   */
  async retry(id: string, viewer: Viewer): Promise<JobRecord> {
    const job = await this.get(id, viewer);
    if (await isRetrying(this.ledger, job)) return job;
    if (job.status !== 'completed' && job.status !== 'failed')
      throw new TrivecError('job_conflict', `The job is ${job.status}; it must be completed or failed.`);
    const { storage, config } = this.deps;
    const limits = { maxDocuments: config.shardMaxDocuments, maxTextBytes: config.shardMaxBytes };
    const { event, keys } = await planRetry({ ledger: this.ledger, storage, limits }, job);
    if (event === undefined)
      throw new TrivecError('job_conflict', 'The job has no failed documents that could be tried again.');
    // The plan is of this version of the job: who changed it meanwhile was first.
    const transition = applyToJob(job, event, Date.now());
    if (!transition.ok || !(await this.ledger.store.compareAndSwap(transition.job, transition.shards))) {
      await storage.delete(keys);
      const current = await this.get(id, viewer);
      if (await isRetrying(this.ledger, current)) return current;
      throw new TrivecError('job_conflict', 'The job was changed at the same time; look at it again.');
    }
    this.room.changed();
    await this.queues.enqueue(transition.job);
    return { ...transition.job, version: transition.job.version + 1 };
  }

  /** Nothing new is begun; what runs is finished. `job_conflict` for an ended job. */
  async pause(id: string, viewer: Viewer): Promise<JobRecord> {
    const job = await this.get(id, viewer);
    const result = await this.ledger.applyToJob(id, { type: 'pause' });
    if (!result.ok) return this.refused(result, job, viewer, 'already_paused');
    this.room.changed();
    await this.queues.dequeue(result.job);
    return result.job;
  }

  /** `job_conflict` for an ended job; one that was not paused is answered as it is. */
  async resume(id: string, viewer: Viewer): Promise<JobRecord> {
    const job = await this.get(id, viewer);
    const result = await this.ledger.applyToJob(id, { type: 'resume' });
    if (!result.ok) return this.refused(result, job, viewer, 'not_paused');
    this.room.changed();
    await this.queues.enqueue(result.job);
    await this.queues.passOn(result.job);
    return result.job;
  }

  /** The job, its documents and results, whatever its state. `sink_unavailable` while its destination must be put in order. */
  async delete(id: string, viewer: Viewer): Promise<void> {
    const job = await this.get(id, viewer);
    // Ended first: no holder of a shard can store any more. Then the record, so that nobody finds half a job.
    await this.ledger.applyToJob(id, { type: 'cancel' });
    this.room.changed();
    await this.queues.dequeue(job);
    const { qdrant, backend, logger } = this.deps;
    const sink = qdrant?.of(job.options.destination?.target);
    // What was put off at the destination is only known here: restored before it is forgotten.
    if (sink !== undefined) await settleSink({ ledger: backend.ledger, sink, logger }, id);
    else if (job.sink?.finished === false)
      logger.warn(
        { jobId: id, collection: job.sink.collection, target: job.options.destination?.target },
        'a job is deleted whose Qdrant server is not configured any more: what it began there stays',
      );
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

const INGEST_REFUSALS: Partial<Record<string, string>> = {
  not_ended: 'The job runs; it must have ended.',
  nothing_stored: 'The job has not all of its results: there is nothing whole to send.',
  sink_open: 'The destination of before is still being put in order; try again soon.',
};

function notFound(id: string): TrivecError {
  return new TrivecError('job_not_found', `There is no job ${JSON.stringify(id.slice(0, 64))}.`);
}
