import { rankingOf, type Scored } from './metrics.ts';

/** Cormack, Clarke, Büttcher 2009. */
export const RRF_K = 60;

/** `Σ 1 / (60 + rank)` over the lists that have the document, ranks from 1. */
export function reciprocalRankFusion(lists: readonly (readonly Scored[])[]): Scored[] {
  const sums = new Map<string, number>();
  for (const list of lists)
    for (const [index, id] of rankingOf(list).entries())
      sums.set(id, (sums.get(id) ?? 0) + 1 / (RRF_K + index + 1));
  return Array.from(sums, ([id, score]) => ({ id, score }));
}
