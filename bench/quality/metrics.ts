/**
 * Retrieval metrics as trec_eval defines them (`ndcg_cut`, `recall`, `recip_rank` of a cut run). Pure.
 */

/** A document and its score: higher is nearer. */
export interface Scored {
  id: string;
  score: number;
}

/** Document id → relevance. Above 0 is relevant; the number itself is the gain. */
export type Judgements = ReadonlyMap<string, number>;

export interface Metrics {
  ndcg10: number;
  recall100: number;
  mrr10: number;
}

export const METRIC_NAMES = ['ndcg10', 'recall100', 'mrr10'] as const satisfies (keyof Metrics)[];

/**
 * Ids, best first. As in trec_eval scores count as float32, and of equal ones the greater id comes first: a fixed
 * order that no run can choose.
 */
export function rankingOf(scored: readonly Scored[]): string[] {
  return scored
    .map(({ id, score }) => ({ id, score: Math.fround(score) }))
    .sort((a, b) => b.score - a.score || (a.id < b.id ? 1 : a.id > b.id ? -1 : 0))
    .map(({ id }) => id);
}

/** Σ gain / log2(rank + 1) over the first `depth`, by that of the best possible order (Järvelin, Kekäläinen 2002). */
function ndcgAt(ranking: readonly string[], judgements: Judgements, depth: number): number {
  const ideal = [...judgements.values()].filter((gain) => gain > 0).sort((a, b) => b - a);
  const best = discounted(ideal.slice(0, depth));
  if (best === 0) return 0;
  return discounted(ranking.slice(0, depth).map((id) => Math.max(0, judgements.get(id) ?? 0))) / best;
}

function discounted(gains: readonly number[]): number {
  return gains.reduce((sum, gain, index) => sum + gain / Math.log2(index + 2), 0);
}

/** The share of the relevant documents among the first `depth`. */
function recallAt(ranking: readonly string[], judgements: Judgements, depth: number): number {
  const relevant = [...judgements.values()].filter((gain) => gain > 0).length;
  if (relevant === 0) return 0;
  return ranking.slice(0, depth).filter((id) => (judgements.get(id) ?? 0) > 0).length / relevant;
}

/** 1 / rank of the first relevant document among the first `depth`; 0 without one. */
function reciprocalRankAt(ranking: readonly string[], judgements: Judgements, depth: number): number {
  const index = ranking.slice(0, depth).findIndex((id) => (judgements.get(id) ?? 0) > 0);
  return index === -1 ? 0 : 1 / (index + 1);
}

/**
 * One result a judged query, in the order of `qrels`. A query that the run lacks counts 0 (`trec_eval -c`), so that
 * no run gains by leaving out what is hard; one without a relevant document is 0 for every run.
 */
export function evaluate(
  run: ReadonlyMap<string, readonly Scored[]>,
  qrels: ReadonlyMap<string, Judgements>,
): Metrics[] {
  return Array.from(qrels, ([query, judgements]) => {
    const ranking = rankingOf(run.get(query) ?? []);
    return {
      ndcg10: ndcgAt(ranking, judgements, 10),
      recall100: recallAt(ranking, judgements, 100),
      mrr10: reciprocalRankAt(ranking, judgements, 10),
    };
  });
}

export function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}
