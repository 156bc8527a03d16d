import type { ErrorCode } from '../errors.ts';
import type { IdempotencyRecord } from '../ledger/idempotency.ts';
import type { Output } from '../vectors/types.ts';

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
}

export interface JobOptions {
  outputs: readonly Output[];
  dimensions?: number;
  normalize: boolean;
  /** False: a text over the model's length fails alone, instead of being cut. */
  truncate: boolean;
  metadata?: Record<string, unknown>;
  /** Where the stored vectors are also sent. A job with a destination ends when all shards are written. */
  destination?: { type: string };
}

/** Documents unless said otherwise. `embedded + failed ≤ documents`; equal once the job has ended by itself. */
export interface JobCounts {
  documents: number;
  embedded: number;
  /** Written to the job's destination; 0 for a job without one. */
  written: number;
  failed: number;
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
  shards: { total: number; stored: number; written: number };
  /** The first ten; all of them lie beside the results. */
  errors: DocumentError[];
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
  /** The winning attempt's Arrow file; readers open this and no other. Absent when it has no rows. */
  resultKey?: string;
  /** NDJSON of DocumentError, when some failed. */
  errorsKey?: string;
  counts?: { embedded: number; failed: number };
  /** Rows of the Arrow file: one a chunk. */
  rows?: number;
  tokens?: number;
}
