import type { TrivecError } from '../errors.ts';
import type { ModelInfo } from '../models/modelInfo.ts';
import type { Output, TextVectors } from '../vectors/types.ts';
import type { Calibration } from './calibrate.ts';

/** A tokenised text, special tokens included. `ids.length ≤ maxTokens`. */
export interface EncodedText {
  ids: Int32Array;
  /** Tokens the whole text would have had; larger than `ids.length` when it was cut. */
  originalTokens: number;
  /** Where the second text of a pair begins, for models that tell the two apart by token types. */
  secondFrom?: number;
}

/** What a reranker reads. */
export type TextPair = readonly [query: string, passage: string];

export interface EncodePairOptions {
  /** Upper bound of a pair, special tokens included; the model's own when absent or larger. */
  maxTokens?: number;
  /** For rerankers that take one; others ignore it. */
  instruction?: string;
}

export interface ScoreOptions {
  lane: Lane;
  signal?: AbortSignal;
  /** Milliseconds since the epoch; past it the pairs are dropped unrun. */
  deadlineAtMs?: number;
}

export interface ScoreResult {
  /** Raw logits, one a pair; a pair that cannot be run is a `model_failed` error in its place. */
  scores: (number | TrivecError)[];
  /** Milliseconds the device spent on batches that carried these pairs. */
  inferMs: number;
}

export interface EncodeOptions {
  /** Upper bound, special tokens included; the model's own when absent or larger. */
  maxTokens?: number;
  truncationDirection?: 'right' | 'left';
  /** Texts of the bulk lane may have a lower bound of their own (`MAX_BULK_TEXT_TOKENS`). */
  lane?: Lane;
}

export type Lane = 'interactive' | 'bulk';

export interface EmbedOptions {
  outputs: readonly Output[];
  lane: Lane;
  /** Matryoshka cut of the dense vector, renormalised. */
  dimensions?: number;
  /** L2-normalise dense (default true). */
  normalize?: boolean;
  signal?: AbortSignal;
  /** Milliseconds since the epoch; past it the texts are dropped unrun. */
  deadlineAtMs?: number;
  /**
   * Awaited before each forward pass with the indexes (into the texts given) that are about to run, after those
   * that are running still, and the pass is withheld until it resolves: so a death can be blamed on those texts only.
   */
  onBatch?: (indexes: readonly number[]) => Promise<void>;
}

export interface EmbedResult {
  /**
   * One a text, in the order given. A text that the model cannot run alone either is a `model_failed`
   * error in its place (`instanceof TrivecError`); its neighbours are not affected.
   */
  vectors: (TextVectors | TrivecError)[];
  /** Milliseconds the device spent on batches that carried these texts. */
  inferMs: number;
}

/** Tokenizer and model on one device. Calls may overlap; the scheduler packs what waits into batches. */
export interface Engine {
  readonly model: ModelInfo;
  readonly device: string;
  /** Padded tokens of one batch. */
  readonly maxBatchTokens: number;
  /** Tokens that a text of the bulk lane is cut to, where that is less than the model's own. */
  readonly maxBulkTokens?: number | undefined;
  /** What was found at the start; absent before a model is loaded that is loaded when it is used. */
  readonly calibration?: Calibration | undefined;
  encode(texts: readonly string[], options?: EncodeOptions): Promise<EncodedText[]>;
  decode(ids: readonly number[][], options?: { skipSpecialTokens?: boolean }): Promise<string[]>;
  /**
   * Order of the result is the order of `texts`. Throws only what concerns the whole call: `unknown_output`,
   * `deadline_exceeded`, `cancelled`, `shutting_down`, `model_unavailable`, or what `onBatch` threw.
   */
  embed(texts: readonly EncodedText[], options: EmbedOptions): Promise<EmbedResult>;
  /** Query and passage as the reranker wants them. Throws `invalid_request` for an embedding model. */
  encodePairs(pairs: readonly TextPair[], options?: EncodePairOptions): Promise<EncodedText[]>;
  /** Scores of pairs from `encodePairs`, packed into batches like texts. Throws what `embed` throws for a whole call. */
  score(pairs: readonly EncodedText[], options: ScoreOptions): Promise<ScoreResult>;
  /** Real (unpadded) tokens per second of device time over the recent past; 0 before the first batch. */
  tokensPerSecond(): number;
  /** Lets the running batch end, refuses the rest with `shutting_down`. Idempotent. */
  close(): Promise<void>;
}
