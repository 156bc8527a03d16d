import type { JobRecord, ShardRecord } from '../jobs/records.ts';

/**
 * Where job and shard records live. Knows nothing of what they mean: every decision is made by the pure
 * state machine in `jobs/`, and reaches the store as one compare-and-set on the job's version.
 * Errors: `backend_unavailable` for anything that may heal.
 */
export interface LedgerStore {
  /** Before the commit: records of a job that does not exist yet. A crash leaves orphans, which `deleteJob` removes. */
  putShards(jobId: string, shards: readonly ShardRecord[]): Promise<void>;
  /**
   * One atomic write that makes the job exist, and takes its idempotency key with it. Answers the job's own id,
   * or that of another job that holds the key: then nothing was written. Deleting a job frees its key.
   */
  commitJob(job: JobRecord): Promise<string>;
  /** The job that holds an idempotency key, by the key's digest. */
  readKeyedJob(digest: string): Promise<JobRecord | undefined>;
  readJob(jobId: string): Promise<JobRecord | undefined>;
  readShards(jobId: string, fromOrdinal: number, limit: number): Promise<ShardRecord[]>;
  /**
   * Atomically writes `job` (its version increased by one) and `shards` if the stored version is still `job.version`
   * as read; false if someone else was first or the job is gone.
   */
  compareAndSwap(job: JobRecord, shards?: readonly ShardRecord[]): Promise<boolean>;
  /** What the holder of a shard leaves for the one after its death; `undefined` removes it. Gone with the job. */
  writeNote(jobId: string, ordinal: number, note: string | undefined): Promise<void>;
  readNote(jobId: string, ordinal: number): Promise<string | undefined>;
  /** Newest first; `cursor` is what the previous page returned. */
  listJobs(query: {
    owner?: string;
    limit: number;
    cursor?: string;
  }): Promise<{ jobs: JobRecord[]; cursor?: string }>;
  /** Ids of jobs that are queued, running or paused: what the reconciler walks. May name a few that just ended. */
  listOpenJobs(): Promise<string[]>;
  /** The job, its shards, its place in the lists. Idempotent. */
  deleteJob(jobId: string): Promise<void>;
}
