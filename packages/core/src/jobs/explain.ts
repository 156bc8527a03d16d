import { maxSimilarities } from '../vectors/scores.ts';
import type { TextVectors } from '../vectors/types.ts';
import type { HitExplanation } from './serviceTypes.ts';

/** What each token added to the scores of one hit: the summands of `sparseScore` and `colbertScore`. */
export function explainHit(
  query: TextVectors,
  document: TextVectors,
  queryTokenIds?: ArrayLike<number>,
): HitExplanation {
  const explanation: HitExplanation = {};
  if (query.sparse && document.sparse) {
    const weights = new Map<number, number>();
    document.sparse.indices.forEach((id, i) => {
      weights.set(id, document.sparse!.values[i]!);
    });
    explanation.sparse = [...query.sparse.indices]
      .flatMap((tokenId, i) => {
        const queryWeight = query.sparse!.values[i]!;
        const documentWeight = weights.get(tokenId);
        if (documentWeight === undefined) return [];
        return [{ tokenId, queryWeight, documentWeight, product: queryWeight * documentWeight }];
      })
      .sort((a, b) => b.product - a.product);
  }
  if (query.colbert && document.colbert && document.colbert.rows > 0)
    explanation.colbert = maxSimilarities(query.colbert, document.colbert).map(({ row, similarity }, i) => {
      // CLS has no row: row 0 is token 1.
      const queryTokenId = queryTokenIds?.[i + 1];
      return {
        queryIndex: i,
        ...(queryTokenId !== undefined && { queryTokenId }),
        documentIndex: row,
        similarity,
      };
    });
  return explanation;
}
