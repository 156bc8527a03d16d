import type { ErrorCode } from '../errors.ts';
import type { OutputScores } from '../vectors/scores.ts';
import type { Output, TextVectors } from '../vectors/types.ts';
import type { TextPair } from './types.ts';

/**
 * What the interactive lane carries: a task goes from an API process to a worker, a reply comes back.
 * Plain structures of JSON values and typed arrays on both sides.
 */
export type EngineTask = EmbedTask | ScoreTask | TokenizeTask | DecodeTask;

export interface EmbedTask {
  kind: 'embed';
  texts: readonly string[];
  outputs: readonly Output[];
  /** Matryoshka cut of the dense vector, renormalised. */
  dimensions?: number;
  normalize: boolean;
  /** False: a text over the limit refuses the whole task with `text_too_long`. */
  truncate: boolean;
  truncationDirection: 'right' | 'left';
  /** Special tokens included; the model's own limit when absent or larger. */
  maxTokens?: number;
  /** Also answer the ids that the model saw: what an explanation of scores needs. */
  returnTokenIds?: boolean;
}

/**
 * How near the texts of each pair are. A reranker reads query and passage together; an embedding model compares
 * their vectors (FlagEmbedding's `compute_score`). The same text in many pairs is embedded once.
 */
export interface ScoreTask {
  kind: 'score';
  pairs: readonly TextPair[];
  /** Reranker: the sigmoid of the logit, 0 to 1, instead of the logit. An embedding model's scores stay as they are. */
  normalize: boolean;
  /** False: a pair over the limit refuses the whole task with `text_too_long`. */
  truncate: boolean;
  /** Of a pair (reranker) or of each text (embedding model), special tokens included; the model's own when absent or larger. */
  maxTokens?: number;
  /**
   * Embedding model: what each output counts; those not named count nothing and are not computed. Default:
   * dense 0.4, sparse 0.2, colbert 0.4, as far as the model has them. `unknown_output` for one that it lacks.
   */
  weights?: OutputScores;
  /** A reranker that takes one (Qwen3-Reranker) is told this instead of its own; others ignore it. */
  instruction?: string;
}

/** Tokens of each text, cut to the model's length from the right. */
export interface TokenizeTask {
  kind: 'tokenize';
  texts: readonly string[];
  addSpecialTokens: boolean;
}

export interface DecodeTask {
  kind: 'decode';
  ids: readonly (readonly number[])[];
  skipSpecialTokens: boolean;
}

/** A text that the model could not run, in the place of its vectors. */
export interface FailedText {
  error: { code: ErrorCode; message: string };
}

/** Every array has one item a text, in the order of the task. */
export interface EmbedReply {
  kind: 'embed';
  vectors: (TextVectors | FailedText)[];
  /** Tokens of the whole text, special tokens included. */
  originalTokens: number[];
  truncated: boolean[];
  /** The limit that the texts were cut to. */
  maxTokens: number;
  tokenIds?: Int32Array[];
  /** Queue: before the handler started, and waiting for the device. Infer: device time of the batches that carried the texts. */
  timings: { queueMs: number; tokenizeMs: number; inferMs: number };
}

/** One pair's score, with its parts for an embedding model. Higher is nearer. */
export interface PairScore extends OutputScores {
  score: number;
  /** Tokens the model saw: of the pair, or of both texts. */
  tokens: number;
}

/** Every array has one item a pair, in the order of the task. */
export interface ScoreReply {
  kind: 'score';
  scores: (PairScore | FailedText)[];
  truncated: boolean[];
  maxTokens: number;
  timings: { queueMs: number; tokenizeMs: number; inferMs: number };
}

export interface TokenizeReply {
  kind: 'tokenize';
  texts: { ids: Int32Array; tokens: string[]; originalTokens: number }[];
}

export interface DecodeReply {
  kind: 'decode';
  texts: string[];
}

export type TaskReply = EmbedReply | ScoreReply | TokenizeReply | DecodeReply;

/** The reply that belongs to a task. */
export type ReplyTo<Task extends EngineTask> = Extract<TaskReply, { kind: Task['kind'] }>;
