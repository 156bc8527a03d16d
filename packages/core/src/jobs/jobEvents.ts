import type { QdrantDestination } from '../sinks/qdrant/destination.ts';
import type { DocumentError, JobRecord, PauseReason, ShardRecord, SinkCounts, SinkState } from './records.ts';
import type { WebhookEvent } from './webhook.ts';

/** What may happen to a job; `stateMachine.ts` decides what becomes of it. */
export type JobEvent =
  | { type: 'start' }
  | PauseEvent
  | { type: 'resume'; reason?: PauseReason }
  | { type: 'cancel' }
  | SinkEvent
  | IngestEvent
  | RetryEvent
  | WebhookEvent;

/** With a `reason` it is the system that pauses, and resumes only what it has paused itself. */
export interface PauseEvent {
  type: 'pause';
  reason?: PauseReason;
}

/** Failed documents move from the shards that ended (`changed`) to new ones behind them (`added`). */
export interface RetryEvent {
  type: 'retry';
  added: readonly ShardRecord[];
  changed: readonly ShardRecord[];
  /** Those of the shown errors that stay. */
  errors: readonly DocumentError[];
}

/**
 * `sinkDeferred`: indexing is about to be put off. `sinkReplaces`: a collection is about to be replaced, and deleted.
 * `sinkWaits`: the destination takes nothing now, and why. `sinkFinished`: nothing is left to restore or to swap, or the
 * destination refuses it for good (`error`); `moved`: as in `SinkState`. `run` is the ingestion that they are of: one that
 * comes late must not be taken for the next one's, which may go elsewhere.
 */
export type SinkEvent =
  | { type: 'sinkDeferred'; run: number; hnswM: number }
  | { type: 'sinkReplaces'; run: number; collection: string }
  | { type: 'sinkWaits'; run: number; reason: string }
  | { type: 'sinkFinished'; run: number; error?: DocumentError; moved?: string };

export interface IngestEvent {
  type: 'ingest';
  destination: QdrantDestination;
  sink: Omit<SinkState, 'run'>;
}

/** An attempt has stored its results. `counts` add up to the shard's documents. */
export interface ShardStored {
  type: 'shardStored';
  /** Absent when no document succeeded. */
  resultKey?: string;
  errorsKey?: string;
  counts: { embedded: number; failed: number };
  rows: number;
  tokens: number;
  /** How long the attempt was at it. */
  tookMs: number;
  /** Documents that were cut to the model's length. */
  truncated: number;
  /** The first few. */
  errors: readonly DocumentError[];
}

/** The destination has taken the shard's vectors, of this many documents. */
export interface ShardWritten {
  type: 'shardWritten';
  /** The ingestion that it was written in. */
  run: number;
  documents: number;
  /** How long the attempt was at it. */
  tookMs: number;
  /** Added to the job's own. */
  counts?: SinkCounts;
  /** Where all errors of the shard lie, when the destination refused documents. */
  errorsKey?: string;
  /** The first few of those. */
  errors?: readonly DocumentError[];
}

export type ShardEvent = ShardStored | ShardWritten;

export type Refusal =
  | 'already_running'
  | 'already_paused'
  | 'not_paused'
  | 'paused'
  | 'already_stored'
  | 'already_written'
  | 'not_stored'
  | 'not_ended'
  | 'nothing_stored'
  | 'no_sink'
  | 'already_waiting'
  | 'other_run'
  | 'sink_open'
  | 'not_due'
  | 'cancelled'
  | 'ended';

export type Transition =
  | { ok: true; job: JobRecord; shards: readonly ShardRecord[] }
  | { ok: false; reason: Refusal };
