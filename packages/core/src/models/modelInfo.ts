import type { Output } from '../vectors/types.ts';

export const MODEL_KINDS = ['embedding', 'reranker'] as const;
export type ModelKind = (typeof MODEL_KINDS)[number];

/** What others need to know of a loaded model. Travels in the registry and is shown by `/models`. */
export interface ModelInfo {
  /** A reranker has no vectors (`outputs` is empty): it scores pairs of texts. */
  kind: ModelKind;
  /** The configured name, as clients give it in `model`. */
  name: string;
  /** Other names that requests may give: as it was configured, without the organisation. */
  aliases?: readonly string[];
  /**
   * What a vector depends on: model files, dtype, graph, heads. Two equal fingerprints give equal vectors, but for
   * what processors round differently.
   */
  fingerprint: string;
  dtype: string;
  /** True where a vector depends a little on its neighbours in the batch (dynamic int8). */
  batchDependent?: boolean;
  outputs: readonly Output[];
  /** Size of the dense vector; 0 without one. */
  denseDims: number;
  /** Size of one ColBERT row; 0 without ColBERT. */
  colbertDims: number;
  /** Longest text in tokens, special tokens included. */
  maxTokens: number;
  /** True for a model that only stands in for a real one (the built-in, the random fixture). */
  standIn: boolean;
  /** One sentence for logs, `/models` and the README. */
  description: string;
  license: string;
  /** What the model wants written before a text, by name: `query`, `passage` or `document`, and others it may have. */
  prompts?: Readonly<Record<string, string>>;
  /** The one that is written where a request says nothing, as sentence-transformers does. */
  defaultPromptName?: string;
}
