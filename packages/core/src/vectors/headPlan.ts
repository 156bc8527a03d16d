/** How a text's one dense vector is taken from a matrix of token vectors. */
export const POOLINGS = ['cls', 'mean', 'last'] as const;
export type Pooling = (typeof POOLINGS)[number];

/**
 * What to do with a graph's outputs, to get trivec's three. Heads may be raw or finished: finishing again
 * (ReLU, L2) changes nothing of a finished one, so it is always done.
 */
export interface HeadPlan {
  /** Float [B, D], or [B, L, D] to be pooled where `pooling` is given. */
  dense?: { output: string; pooling?: Pooling };
  /** Float [B, L] or [B, L, 1]. */
  sparse?: { output: string };
  /** Float [B, L, D], or [B, L − 1, D] without the first position. */
  colbert?: { output: string };
  /** Token ids that carry no lexical weight: CLS, EOS, padding, unknown (FlagEmbedding's rule; `<mask>` stays). */
  ignoredSparseIds: readonly number[];
}

export type PaddingSide = 'right' | 'left';
