import type { RequestedDestination } from '../sinks/qdrant/destination.ts';
import type { Output, TextVectors } from '../vectors/types.ts';
import type { RequestedFields } from './fields.ts';
import type {
  ChunkingOptions,
  InputType,
  JobOptions,
  JobStatus,
  PauseReason,
  Priority,
  SinkCounts,
} from './records.ts';
import type { RequestedWebhook } from './webhook.ts';

/** Who asks. A job is seen by its owner and by an admin; to anyone else it is `job_not_found`. */
export interface Viewer {
  /** The API key's name; `anonymous` where keys are off. */
  owner: string;
  admin: boolean;
}

/** Where a job's documents come from; neither is trusted. */
export type DocumentSource =
  /** Bytes of NDJSON, already inflated; a stream that throws leaves no job behind. */
  | { format: 'ndjson'; body: AsyncIterable<Uint8Array> }
  /** The same, of several files; names are for messages. */
  | { format: 'files'; files: AsyncIterable<{ name: string; body: AsyncIterable<Uint8Array> }> }
  /** The parsed `documents` of a JSON body. */
  | { format: 'array'; documents: unknown };

/** What the server reads itself, for the owner: see `openSource`. */
export type ServerSource = { object: string } | { prefix: string } | { file: string };

/** What a job needs to know of the model it was accepted for. A `ModelInfo` will do. */
export interface JobModel {
  name: string;
  fingerprint: string;
  outputs: readonly Output[];
  /** 0 without a dense output. */
  denseDims: number;
  /** 0 without ColBERT. */
  colbertDims: number;
  /** Longest text in tokens, special tokens included. */
  maxTokens: number;
  /** What the model wants before a text, by name; and the one it wants where nothing is asked. */
  prompts?: Readonly<Record<string, string>>;
  defaultPromptName?: string;
}

/** As the client gave them, types already checked: absent ones take their defaults. */
export interface RequestedOptions {
  /** Default: all the model has but `colbert`. `unknown_output` for others, with the list of what it has. */
  outputs?: readonly string[];
  dimensions?: number;
  normalize?: boolean;
  truncate?: boolean;
  /** Default: no overlap, by sentences. */
  chunking?: Pick<ChunkingOptions, 'maxTokens'> & Partial<ChunkingOptions>;
  /** Default `document`. */
  inputType?: InputType;
  /** Default: the model's own for the input type, if it has one. */
  prompt?: string;
  /** 0.01 to 100, default 1. */
  weight?: number;
  /** Default `normal`. */
  priority?: Priority;
  /** At most 16 KiB as JSON. */
  metadata?: Record<string, unknown>;
  /** `collection_conflict` where it does not fit, `sink_unavailable` where it does not answer. */
  destination?: RequestedDestination;
  /** How other records than `{id, text, payload}` make documents. */
  fields?: RequestedFields;
  /** Told when the job ends. */
  webhook?: RequestedWebhook;
  /** How long the job is kept after its end; default JOB_RETENTION_MS. */
  retentionMs?: number;
  /** `skip`: lines that are no document are left out and listed in the errors. Default `reject`. */
  onInvalid?: 'reject' | 'skip';
}

export interface SubmitInput {
  source: DocumentSource | { format: 'server'; at: ServerSource };
  options: RequestedOptions;
  model: JobModel;
  owner: string;
  /** The same key with the same request is the same job; with another one `idempotency_conflict`. */
  idempotencyKey?: string;
  /** Aborted when the sender has gone: nothing of the job stays. */
  signal?: AbortSignal;
}

/** The body of `GET /jobs/:id`. Times are ISO 8601, absent values null. */
export interface JobView {
  id: string;
  status: JobStatus;
  /** Why the system has paused the job, which it also resumes; null where a client did, or it is not paused. */
  pausedReason: PauseReason | null;
  counts: { documents: number; embedded: number; written: number; failed: number };
  tokens: number;
  /** Of the last minute; once all is embedded, of the time that took. Null where nothing moves now. */
  tokensPerSecond: number | null;
  /** From what is left and the speed of the last minute; null where nothing moves now, 0 when ended. */
  etaSeconds: number | null;
  /** Nothing is embedded because no worker serves the model. */
  waitingFor: 'worker' | null;
  createdAt: string;
  startedAt: string | null;
  finishedAt: string | null;
  model: { name: string; fingerprint: string };
  outputs: readonly Output[];
  options: Omit<JobOptions, 'outputs'>;
  /** Documents cut to the model's length. */
  truncated: number;
  warnings: { code: string; message: string }[];
  /** Lines that were no document and left out (`onInvalid: skip`); they are in the errors, not in the counts. */
  skipped: number;
  /** The first ten; `links.errors` has all. */
  errors: { id: string; code: string; message: string; param?: string }[];
  /** What the destination took; null for a job without one. */
  sink:
    | ({
        collection: string;
        finished: boolean;
        /** Why nothing goes on there now. */
        waiting: { reason: string; since: string } | null;
      } & SinkCounts)
    | null;
  /** Null for a job without one. `state` is null until the job has ended. */
  webhook: {
    url: string;
    state: 'pending' | 'delivered' | 'failed' | null;
    attempts: number;
    error: string | null;
  } | null;
  links: { self: string; results: string; errors: string };
}

/** What a job would be. Bytes and tokens are estimates, documents and refusals exact. */
export interface DryRunReport {
  documents: number;
  textBytes: number;
  tokens: number;
  /** Texts that the tokens were estimated from. */
  sampledTexts: number;
  /** Result rows: more than documents where they are chunked. */
  rows: number;
  /** At the measured speed of the workers that are there; null where none has measured any. */
  estimatedSeconds: number | null;
  tokensPerSecond: number;
  resultBytes: Partial<Record<Output, number>>;
  /** False: `POST /jobs` would refuse it because of what is in `refused`. */
  accepted: boolean;
  refused: {
    total: number;
    byCode: Record<string, number>;
    /** The first ten. */
    first: { id: string; code: string; message: string; param?: string }[];
  };
}

export type ResultFormat = 'ndjson' | 'arrow' | 'parquet';

export interface ResultQuery {
  format: ResultFormat;
  /** Where the page before ended. `invalid_cursor` for anything else, another job's included. */
  cursor?: string;
  /** Rows; all there are when absent. */
  limit?: number;
  signal?: AbortSignal;
}

/** Known before the first byte of the body, so that it can travel in headers. */
export interface ResultPage {
  contentType: string;
  rows: number;
  /** Absent once the job has ended and nothing is left; otherwise the place to go on from, now or later. */
  nextCursor?: string;
  /** One body: NDJSON lines, one Arrow IPC stream with a record batch a shard, or a Parquet file. Rows in input order. */
  body: AsyncIterable<Uint8Array>;
}

export const SEARCH_MODES = ['dense', 'sparse', 'colbert', 'hybrid'] as const;
export type SearchMode = (typeof SEARCH_MODES)[number];

export interface SearchQuery {
  /** The query's vectors, of the job's own model fingerprint. */
  vectors: TextVectors;
  /** Its token ids with the special tokens, CLS first: row `i` of `vectors.colbert` is token `i + 1`. For `explain`. */
  tokenIds?: ArrayLike<number>;
  mode: SearchMode;
  limit: number;
  explain?: boolean;
  signal?: AbortSignal;
}

export interface SearchHit {
  id: string;
  chunk: number;
  score: number;
  /** The score of each output that was computed for this hit. */
  scores: { dense?: number; sparse?: number; colbert?: number };
  /** Of a chunk: where it lies in the document's text, in UTF-16 units. */
  start?: number;
  end?: number;
  /** The document's, or the chunk's. */
  text: string;
  payload?: Record<string, unknown>;
  explanation?: HitExplanation;
}

/** What carried a hit, heaviest first. */
export interface HitExplanation {
  sparse?: { tokenId: number; queryWeight: number; documentWeight: number; product: number }[];
  /** One per query row, in order: the document row it met. The document's row `i` is its token `i + 1`. */
  colbert?: { queryIndex: number; queryTokenId?: number; documentIndex: number; similarity: number }[];
}

export interface SearchResult {
  hits: SearchHit[];
  /** Rows looked at. */
  scanned: number;
  /** What made the score; for `hybrid` the weights of the outputs that took part. */
  weights: { dense?: number; sparse?: number; colbert?: number };
  /** Says where ColBERT only re-ranked the best of another output, or what was missing. */
  notes: string[];
}
