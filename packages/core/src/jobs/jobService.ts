import type { Logger } from 'pino';
import type { Backend } from '../backend/backend.ts';
import type { Config } from '../config.ts';
import type { BlobStore } from '../storage/blobStore.ts';
import type { DocumentError, JobRecord } from './records.ts';
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
    | 'maxJobDocuments'
    | 'maxJobBytes'
    | 'maxLineBytes'
    | 'shardMaxDocuments'
    | 'shardMaxBytes'
    | 'reconcileIntervalMs'
  >;
  logger: Logger;
}

/**
 * Everything a client can do with jobs. All methods throw TrivecErrors: `job_not_found` where the viewer
 * may not see the job, `backend_unavailable` and `storage_unavailable` for what may heal.
 */
export declare class JobService {
  constructor(deps: JobServiceDeps);
  /**
   * Stores the documents as shards, commits the job, enqueues it. Resolves when a crash can no longer
   * lose it (answer 202); rejects with nothing left behind: `no_documents`, `invalid_line`, `invalid_json`,
   * `invalid_document`, `duplicate_id`, `too_many_documents`, `body_too_large`, `upload_aborted`, `unknown_output`,
   * `invalid_request`, `storage_full`, …
   */
  submit(input: SubmitInput): Promise<JobRecord>;
  get(id: string, viewer: Viewer): Promise<JobRecord>;
  /** Newest first; an admin sees everyone's. */
  list(
    viewer: Viewer,
    page: { limit: number; cursor?: string },
  ): Promise<{ jobs: JobRecord[]; cursor?: string }>;
  /** Ends the job now; what is done stays readable. An ended job is `job_conflict`, a cancelled one is returned as it is. */
  cancel(id: string, viewer: Viewer): Promise<JobRecord>;
  pause(id: string, viewer: Viewer): Promise<JobRecord>;
  resume(id: string, viewer: Viewer): Promise<JobRecord>;
  /** The job, its documents and results, whatever its state. */
  delete(id: string, viewer: Viewer): Promise<void>;
  /** The finished part from the start (or the cursor), in input order. `not_found` while an Arrow page would be empty is never thrown: an empty page is a page. */
  results(id: string, viewer: Viewer, query: ResultQuery): Promise<ResultPage>;
  /** Every failed document of the finished part, in input order. Checked before the first item is pulled. */
  errors(id: string, viewer: Viewer): Promise<AsyncIterable<DocumentError>>;
  /** Exact search over the finished part. `invalid_request` where the job has not the output that the mode needs. */
  search(id: string, viewer: Viewer, query: SearchQuery): Promise<SearchResult>;
}
