import type { Output, SparseVector, TextVectors, TokenMatrix } from './types.ts';

/**
 * How BGE-M3 compares two texts (FlagEmbedding, `compute_score`): higher is nearer.
 * Sums are made in float64 whatever the vectors are.
 */

/** Σ aᵢ·bᵢ: the cosine, where both are L2-normalised. */
export function denseScore(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** Σ w_a·w_b over the token ids that both have. Ids ascend in both. */
export function sparseScore(a: SparseVector, b: SparseVector): number {
  let sum = 0;
  let i = 0;
  let j = 0;
  while (i < a.indices.length && j < b.indices.length) {
    const difference = a.indices[i]! - b.indices[j]!;
    if (difference === 0) sum += a.values[i++]! * b.values[j++]!;
    else if (difference < 0) i++;
    else j++;
  }
  return sum;
}

/** The best document row for each query row: what late interaction sums up. */
export function maxSimilarities(
  query: TokenMatrix,
  document: TokenMatrix,
): { row: number; similarity: number }[] {
  const { dims } = query;
  return Array.from({ length: query.rows }, (_, q) => {
    let best = { row: -1, similarity: Number.NEGATIVE_INFINITY };
    for (let d = 0; d < document.rows; d++) {
      const similarity = rowsDot(query.data, q * dims, document.data, d * dims, dims);
      if (similarity > best.similarity) best = { row: d, similarity };
    }
    return best;
  });
}

/** `Σ_q max_d(q·d) / n_q`: not symmetric, the query comes first. 0 where either has no rows. */
export function colbertScore(query: TokenMatrix, document: TokenMatrix): number {
  const { dims } = query;
  if (query.rows === 0 || document.rows === 0) return 0;
  let sum = 0;
  for (let q = 0; q < query.rows; q++) {
    let best = Number.NEGATIVE_INFINITY;
    for (let d = 0; d < document.rows; d++) {
      const similarity = rowsDot(query.data, q * dims, document.data, d * dims, dims);
      if (similarity > best) best = similarity;
    }
    sum += best;
  }
  return sum / query.rows;
}

/** Four sums at once let the processor overlap the additions: twice the speed of one. */
function rowsDot(a: Float32Array, aAt: number, b: Float32Array, bAt: number, dims: number): number {
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  let i = 0;
  for (; i + 3 < dims; i += 4) {
    s0 += a[aAt + i]! * b[bAt + i]!;
    s1 += a[aAt + i + 1]! * b[bAt + i + 1]!;
    s2 += a[aAt + i + 2]! * b[bAt + i + 2]!;
    s3 += a[aAt + i + 3]! * b[bAt + i + 3]!;
  }
  for (; i < dims; i++) s0 += a[aAt + i]! * b[bAt + i]!;
  return s0 + s1 + s2 + s3;
}

export type OutputScores = { [K in Output]?: number };

/** The weights that FlagEmbedding's examples give the three. */
export const MIXED_WEIGHTS: Readonly<Record<Output, number>> = { dense: 0.4, sparse: 0.2, colbert: 0.4 };

/** `Σ wᵢ·scoreᵢ / Σ wᵢ` over the scores that are there; 0 without any. */
export function mixedScore(scores: OutputScores, weights: OutputScores = MIXED_WEIGHTS): number {
  let sum = 0;
  let total = 0;
  for (const output of ['dense', 'sparse', 'colbert'] as const) {
    const score = scores[output];
    const weight = weights[output] ?? 0;
    if (score === undefined) continue;
    sum += weight * score;
    total += weight;
  }
  return total === 0 ? 0 : sum / total;
}

/** The scores of the outputs that are wanted and that both texts have. */
export function outputScores(
  query: TextVectors,
  document: TextVectors,
  wanted: readonly Output[],
): OutputScores {
  const scores: OutputScores = {};
  if (wanted.includes('dense') && query.dense && document.dense)
    scores.dense = denseScore(query.dense, document.dense);
  if (wanted.includes('sparse') && query.sparse && document.sparse)
    scores.sparse = sparseScore(query.sparse, document.sparse);
  if (wanted.includes('colbert') && query.colbert && document.colbert)
    scores.colbert = colbertScore(query.colbert, document.colbert);
  return scores;
}
