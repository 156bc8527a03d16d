import type { ErrorCode } from '../errors.ts';
import type { IdempotencyRecord } from '../ledger/idempotency.ts';
import type { QdrantDestination } from '../sinks/qdrant/destination.ts';
import type { Output } from '../vectors/types.ts';
import type { Progress } from './progress.ts';

export const JOB_STATUSES = ['queued', 'running', 'paused', 'completed', 'failed', 'cancelled'] as const;
export type JobStatus = (typeof JOB_STATUSES)[number];

/** What a client posted as one line or one array item. `id` is the canonical string: 42 and "42" are the same id. */
export interface Document {
  id: string;
  text: string;
  payload?: Record<string, unknown>;
}

export interface DocumentError {
  id: string;
  code: ErrorCode;
  message: string;
  /** Of a line that was skipped: `line 17`; its `id` is empty unless it is a duplicate. */
  param?: string;
}

/** Tokens are the model's, special ones included. */
export interface ChunkingOptions {
  maxTokens: number;
  /** Tokens that a chunk repeats of the one before, at most. */
  overlap: number;
  unit: 'sentence' | 'token';
}

export const PRIORITIES = ['low', 'normal', 'high'] as const;
export type Priority = (typeof PRIORITIES)[number];

/** What the texts are to the model: a model may want a prompt before each, by kind. */
export type InputType = 'query' | 'document';

export interface JobOptions {
  outputs: readonly Output[];
  dimensions?: number;
  normalize: boolean;
  /** False: a text over the model's length fails alone, instead of being cut. */
  truncate: boolean;
  /** Absent: one text a document. */
  chunking?: ChunkingOptions;
  inputType?: InputType;
  /** Stands before each text (each chunk) that the model sees; absent where there is none. */
  prompt?: string;
  /** Shares of the workers: a job of weight 2 gets twice as many as one of 1 (the default). */
  weight?: number;
  priority?: Priority;
  metadata?: Record<string, unknown>;
  /** Deleted this long after it has ended; kept when absent. */
  retentionMs?: number;
  /** Where the stored vectors are also sent. A job with a destination ends when all shards are written. */
  destination?: QdrantDestination;
}

/** Documents unless said otherwise. `embedded + failed ≤ documents`; equal once the job has ended by itself. */
export interface JobCounts {
  documents: number;
  embedded: number;
  /** Written to the job's destination; 0 for a job without one. */
  written: number;
  failed: number;
}

/** What the destination took, and what that cost. Of the running or last ingestion. */
export interface SinkCounts {
  points: number;
  /** Of request bodies. */
  bytes: number;
  retries: number;
  /** Times that the destination asked for fewer requests. */
  slowDowns: number;
  /** Points removed because their document has fewer now. */
  stalePoints: number;
  /** Texts whose ColBERT was larger than the destination takes. */
  colbertOverflowed: number;
  /** Embedded documents that the destination refused; they are among the errors. */
  refused: number;
}

/**
 * Where a job's vectors go and what is still to be done there: written before it is done, so that a crash
 * cannot forget it.
 */
export interface SinkState {
  /** Counts the ingestions of the job. A shard is written if it was written in this one. */
  run: number;
  /** Where points are written: no alias, unless it became one meanwhile; aside, while a replacement is built. */
  collection: string;
  /** The name that is to point to `collection` at the end. */
  alias?: string;
  /** What stood behind `alias` before, made by earlier replacements, and goes at the end. */
  replaced?: readonly string[];
  /** `toDefer` until the first shard is written; `deferred` until the graph's edges are `hnswM` again. */
  indexing: 'asIs' | 'toDefer' | 'deferred';
  hnswM?: number;
  /** Why nothing goes on there now, and since when; absent while it goes on. */
  waiting?: { reason: string; sinceMs: number };
  /** The name that was asked for does not lead to `collection` any more: what to say of it. */
  moved?: string;
  /** Nothing is left to restore, to swap or to look at. A job with a destination does not complete before. */
  finished: boolean;
  counts: SinkCounts;
}

/** Why a job was paused by the system, which also resumes it. */
export type PauseReason = 'storage_full';

/** Who is told about the end of a job, and how far that has come. The secret never leaves the ledger. */
export interface WebhookState {
  url: string;
  /** Base64. */
  secret: string;
  /** How often the job has ended: after a retry it ends again. */
  closings: number;
  /** Of the last end. */
  delivery?: {
    state: 'pending' | 'delivered' | 'failed';
    attempts: number;
    /** Not before. */
    nextAtMs: number;
    /** Of the last attempt that failed. */
    error?: string;
  };
}

/**
 * The durable truth about a job. `version` counts the changes: every transition of the job or of one of
 * its shards is one compare-and-set against it.
 */
export interface JobRecord {
  id: string;
  version: number;
  /** The API key that made it; `anonymous` where keys are off. */
  owner: string;
  status: JobStatus;
  /** Absent where a client paused it. */
  pausedReason?: PauseReason;
  /** With the size of a dense vector and of a ColBERT row, where the job asked for them. */
  model: { name: string; fingerprint: string; denseDims?: number; colbertDims?: number };
  options: JobOptions;
  counts: JobCounts;
  /** Tokens embedded so far, special tokens included. */
  tokens: number;
  /** Documents that were cut to the model's length. */
  truncated: number;
  /** UTF-8 bytes of text: all, and embedded so far. What the ETA is made from. */
  textBytes: { total: number; done: number };
  /** Absent before its first shard. */
  progress?: Progress;
  shards: { total: number; stored: number; written: number };
  /** The first ten; all of them lie beside the results. */
  errors: DocumentError[];
  /** Only with a destination. */
  sink?: SinkState;
  webhook?: WebhookState;
  /** Lines of the upload that were left out (`onInvalid: skip`); not counted as documents. */
  skipped?: { lines: number; blobs: number };
  /** The `Idempotency-Key` it was made under, if any. */
  idempotency?: IdempotencyRecord;
  createdAtMs: number;
  startedAtMs?: number;
  finishedAtMs?: number;
}

export type ShardState = 'pending' | 'stored' | 'written';

export interface ShardRecord {
  ordinal: number;
  state: ShardState;
  documents: number;
  textBytes: number;
  /** Where the shard's documents lie (NDJSON). */
  inputKey: string;
  /** Its documents failed in shards before it, and count as failed until they succeed here. */
  isRetry?: boolean;
  /** The winning attempt's Arrow file; readers open this and no other. Absent when it has no rows. */
  resultKey?: string;
  /** NDJSON of DocumentError, when some failed; of a pending retry, why they failed before. */
  errorsKey?: string;
  counts?: { embedded: number; failed: number };
  /** Rows of the Arrow file: one a chunk. */
  rows?: number;
  /** The ingestion that it was written in; one before the job's own says nothing. */
  writtenRun?: number;
  tokens?: number;
}

/** Whether the job's running ingestion has dealt with this shard. */
export function isWritten(job: Pick<JobRecord, 'sink'>, shard: ShardRecord): boolean {
  return shard.state === 'written' && (shard.writtenRun ?? 1) === (job.sink?.run ?? 1);
}
