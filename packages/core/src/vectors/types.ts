/** The three kinds of vector a text can have. `MODEL` decides which of them exist. */
export const OUTPUTS = ['dense', 'sparse', 'colbert'] as const;
export type Output = (typeof OUTPUTS)[number];

/** Lexical weights by token id. `indices` are unique and ascending; `values` are > 0 and as many. */
export interface SparseVector {
  indices: Uint32Array;
  values: Float32Array;
}

/**
 * One vector a token, row-major: row `i` is `data.subarray(i * dims, (i + 1) * dims)`.
 * Rows are L2-normalised. For a text of n tokens (CLS and EOS included) there are n − 1 rows:
 * EOS kept, CLS dropped (FlagEmbedding's rule).
 */
export interface TokenMatrix {
  rows: number;
  dims: number;
  data: Float32Array;
}

/** What one text became. Only the outputs that were asked for are present. */
export interface TextVectors {
  /** Tokens the model saw, special tokens included. */
  tokens: number;
  dense?: Float32Array;
  sparse?: SparseVector;
  colbert?: TokenMatrix;
}
