import MiniSearch from 'minisearch';
import type { Scored } from './metrics.ts';

/** MiniSearch's own defaults. `d` is what makes BM25+ of BM25 (Lv, Zhai 2011). */
export const BM25 = {
  library: 'minisearch',
  variant: 'BM25+',
  parameters: { k: 1.2, b: 0.7, d: 0.5 },
  tokens: 'runs without blanks and punctuation, lower case; no stemming, no stop words',
} as const;

/** The baseline: words only, one field. Holds the index of the whole collection, but none of its texts. */
export class Bm25 {
  readonly #index = new MiniSearch<{ id: string; text: string }>({ fields: ['text'] });

  add(id: string, text: string): void {
    this.#index.add({ id, text });
  }

  /** The best `limit`. */
  search(query: string, limit: number): Scored[] {
    return (
      this.#index
        .search(query, { bm25: BM25.parameters })
        // The library multiplies the sum by how many words of the query were found: BM25 does not.
        .map(({ id, score, queryTerms }) => ({
          id: id as string,
          score: score / Math.max(1, queryTerms.length),
        }))
        .sort((a, b) => b.score - a.score)
        .slice(0, limit)
    );
  }
}
