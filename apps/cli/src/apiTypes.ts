/** What the HTTP API takes and answers, as far as the client uses it. */
import type { DryRunReport, JobView, ResultFormat, SearchMode } from '@trivec/core/jobs/serviceTypes';
import type { QdrantSearchMode } from '@trivec/core/sinks/qdrant/search';
import type { Output } from '@trivec/core/vectors/types';

export type { DryRunReport, JobView, ResultFormat, SearchMode };

/** Options of a job, as `POST /jobs` takes them in its query. */
export interface JobRequest {
  outputs?: readonly string[];
  model?: string;
  truncate?: boolean;
  onInvalid?: 'skip';
  'chunking.maxTokens'?: number;
  'chunking.overlap'?: number;
  'chunking.unit'?: string;
  prompt?: string;
  /** Of the server's Qdrant. */
  collection?: string;
  /** A server of QDRANT_TARGETS, for `collection`. */
  target?: string;
}

export interface SearchRequest {
  query: string;
  mode?: SearchMode;
  limit?: number;
  explain?: boolean;
}

/** `POST /jobs/:id/search`. */
export interface SearchAnswer {
  hits: SearchHit[];
  /** Rows looked at. */
  scanned: number;
  /** For `hybrid`: what each output counted for. */
  weights: Partial<Record<Output, number>>;
  notes: string[];
}

export interface SearchHit {
  id: string;
  chunk: number;
  score: number;
  scores: Partial<Record<Output, number>>;
  text: string;
  payload?: Record<string, unknown>;
  explanation?: {
    /** Heaviest first. */
    sparse?: { token: string; queryWeight: number; documentWeight: number; product: number }[];
    /** One a token of the query, in order. */
    colbert?: {
      queryToken?: string;
      documentIndex: number;
      documentToken?: string;
      similarity: number;
    }[];
  };
}

export interface CollectionSearchRequest {
  /** A server of QDRANT_TARGETS; without it the one of QDRANT_URL. */
  target?: string;
  collection: string;
  query: string;
  mode?: QdrantSearchMode;
  limit?: number;
  filter?: Record<string, unknown>;
}

/** `POST /search`. */
export interface CollectionSearchAnswer {
  hits: {
    id: string | number;
    chunk: number;
    score: number;
    text: string | null;
    payload: Record<string, unknown>;
  }[];
  mode: QdrantSearchMode;
}

/** An item of `GET /models`. */
export interface ModelView {
  id: string;
  default: boolean;
  fingerprint: string;
  dtype: string;
  outputs: Output[];
  denseDims: number;
  colbertDims: number;
  maxTokens: number;
  standIn: boolean;
  description: string;
  license: string;
  workers: number;
  devices: string[];
}
