import type { ErrorCode } from '../errors.ts';
import type { Output, TextVectors } from '../vectors/types.ts';

/**
 * What the interactive lane carries: a task goes from an API process to a worker, a reply comes back.
 * Plain structures of JSON values and typed arrays on both sides.
 */
export type EngineTask = EmbedTask | TokenizeTask | DecodeTask;

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

export interface TokenizeReply {
  kind: 'tokenize';
  texts: { ids: Int32Array; tokens: string[]; originalTokens: number }[];
}

export interface DecodeReply {
  kind: 'decode';
  texts: string[];
}

export type TaskReply = EmbedReply | TokenizeReply | DecodeReply;

/** The reply that belongs to a task. */
export type ReplyTo<Task extends EngineTask> = Extract<TaskReply, { kind: Task['kind'] }>;
