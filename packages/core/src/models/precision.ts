/** How far the vectors of one precision are from those of another. Pure: vectors in, figures out. */
import { colbertScore, denseScore } from '../vectors/scores.ts';
import type { SparseVector, TextVectors } from '../vectors/types.ts';

export interface ScoreAgreement {
  /** |difference| of a score. */
  maxError: number;
  meanError: number;
  /** Share of pairs of candidates that stand in the same order; a pair that became equal counts half. */
  rankAgreement: number;
}

export interface PrecisionReport {
  texts: number;
  /** Cosine of a text's dense vector to its reference. */
  dense?: { minCosine: number; meanCosine: number };
  /** Lexical weights; a token that one of the two lacks has weight 0. Ranks are those of the tokens of one text. */
  sparse?: ScoreAgreement;
  /** Scores of every text against every other one; ranks are those of the others for one text. */
  colbert?: ScoreAgreement;
  /** A reranker's logits; ranks are those of the passages of one query. */
  scores?: ScoreAgreement;
}

/** `reference` and `found` hold the same texts in the same order. An output that one of them lacks is left out. */
export function comparePrecision(
  reference: readonly TextVectors[],
  found: readonly TextVectors[],
): PrecisionReport {
  const pairs = reference.map((vectors, i) => [vectors, found[i]!] as const);
  const has = (output: 'dense' | 'sparse' | 'colbert') =>
    pairs.length > 0 && pairs.every((both) => both.every((vectors) => vectors[output] !== undefined));
  return {
    texts: reference.length,
    ...(has('dense') && { dense: denseAgreement(pairs.map(([a, b]) => cosine(a.dense!, b.dense!))) }),
    ...(has('sparse') && { sparse: agreement(pairs.map(([a, b]) => alignWeights(a.sparse!, b.sparse!))) }),
    ...(has('colbert') && { colbert: agreement(colbertRows(reference, found)) }),
  };
}

/** Two lists of scores for the same candidates, one such pair a query. */
export type ScoreRow = readonly [reference: readonly number[], found: readonly number[]];

/** Errors over all scores, order within each row. 1 where no two candidates differ in the reference. */
export function agreement(rows: readonly ScoreRow[]): ScoreAgreement {
  let [maxError, sum, count, ordered, pairs] = [0, 0, 0, 0, 0];
  for (const [reference, found] of rows)
    for (let i = 0; i < reference.length; i++) {
      const error = Math.abs(reference[i]! - found[i]!);
      maxError = Math.max(maxError, error);
      sum += error;
      count++;
      for (let j = 0; j < i; j++) {
        const before = Math.sign(reference[i]! - reference[j]!);
        if (before === 0) continue;
        pairs++;
        ordered += (1 + before * Math.sign(found[i]! - found[j]!)) / 2;
      }
    }
  return {
    maxError,
    meanError: count === 0 ? 0 : sum / count,
    rankAgreement: pairs === 0 ? 1 : ordered / pairs,
  };
}

function denseAgreement(cosines: readonly number[]): { minCosine: number; meanCosine: number } {
  return {
    minCosine: Math.min(...cosines),
    meanCosine: cosines.reduce((sum, value) => sum + value, 0) / cosines.length,
  };
}

function cosine(a: Float32Array, b: Float32Array): number {
  const norms = Math.sqrt(denseScore(a, a) * denseScore(b, b));
  return norms === 0 ? 0 : denseScore(a, b) / norms;
}

/** Weights over the union of both texts' tokens. */
function alignWeights(a: SparseVector, b: SparseVector): ScoreRow {
  const weights = new Map<number, [number, number]>();
  for (const [i, id] of a.indices.entries()) weights.set(id, [a.values[i]!, 0]);
  for (const [i, id] of b.indices.entries()) weights.set(id, [weights.get(id)?.[0] ?? 0, b.values[i]!]);
  const both = [...weights.values()];
  return [both.map(([reference]) => reference), both.map(([, found]) => found)];
}

function colbertRows(reference: readonly TextVectors[], found: readonly TextVectors[]): ScoreRow[] {
  const scoresOf = (all: readonly TextVectors[], query: number): number[] =>
    all
      .filter((_, document) => document !== query)
      .map(({ colbert }) => colbertScore(all[query]!.colbert!, colbert!));
  return reference.map((_, query) => [scoresOf(reference, query), scoresOf(found, query)]);
}
