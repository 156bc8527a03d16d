import { parseFilter } from './qdrantFilter.ts';
import {
  badFormat,
  checkShape,
  fit,
  isObject,
  type Json,
  Refusal,
  type StoredVector,
  shapeOf,
  wrongInput,
} from './qdrantRules.ts';
import { compareIds, requireLimit, type StoredCollection, type StoredPoint } from './qdrantStore.ts';

export interface Scored {
  point: StoredPoint;
  score: number;
}

/** `POST …/points/query`, by looking at every point: nearest, prefetch, rrf and re-scoring. */
export function runQuery(collection: StoredCollection, body: Json, text: string): Scored[] {
  const offset = typeof body.offset === 'number' ? body.offset : 0;
  const limit = requireLimit(body);
  const found = evaluate(collection, body, text, [], offset + limit);
  return found.slice(offset, offset + limit);
}

type Filters = ReturnType<typeof parseFilter>[];

/** The filter of a query holds for its prefetches, too. */
function evaluate(
  collection: StoredCollection,
  body: Json,
  text: string,
  outer: Filters,
  limit: number,
): Scored[] {
  const filters = [...outer, parseFilter(body.filter)];
  const threshold = typeof body.score_threshold === 'number' ? body.score_threshold : undefined;
  const using = typeof body.using === 'string' ? body.using : '';
  const prefetch = [body.prefetch ?? []].flat() as Json[];
  const { query } = body;
  if (query === undefined && prefetch.length > 0)
    throw new Refusal(
      400,
      "Bad request: A query is needed to merge the prefetches. Can't have prefetches without defining a query.",
    );
  const k = fusionOf(query);
  const vector = query === undefined || k !== undefined ? undefined : parseQueryVector(query, text);
  const sources = prefetch.map((inner) => evaluate(collection, inner, text, filters, requireLimit(inner)));
  if (k !== undefined) {
    if (sources.length === 0) throw wrongInput('Validation failed: cannot apply Fusion without prefetches');
    return best(fuse(sources, k), limit, threshold);
  }
  const candidates =
    sources.length > 0
      ? [...new Set(sources.flat().map(({ point }) => point))]
      : [...collection.points.values()].filter((point) => filters.every((holds) => holds(point)));
  if (vector === undefined) {
    candidates.sort((a, b) => compareIds(a.id, b.id));
    return candidates.slice(0, limit).map((point) => ({ point, score: 1 }));
  }
  const wanted = fit(vector, collection.vectors.get(using), using);
  const scored = candidates.flatMap((point) => {
    const stored = point.vectors.get(using);
    const score = stored && scoreOf(wanted, stored);
    return score === undefined ? [] : [{ point, score }];
  });
  return best(scored, limit, threshold);
}

/** The k of reciprocal rank fusion, if that is what the query is. */
function fusionOf(query: unknown): number | undefined {
  if (!isObject(query)) return undefined;
  if (query.fusion === 'rrf') return 2;
  if (isObject(query.rrf)) return typeof query.rrf.k === 'number' ? query.rrf.k : 2;
  return undefined;
}

function parseQueryVector(query: unknown, text: string) {
  const shape = shapeOf(isObject(query) && 'nearest' in query ? query.nearest : query, text);
  if (shape === undefined) throw badFormat('data did not match any variant of untagged enum QueryInterface');
  checkShape(shape, 'internal.query');
  return shape;
}

/** Σ 1 / (k + rank), rank from 0. */
function fuse(sources: readonly Scored[][], k: number): Scored[] {
  const scores = new Map<StoredPoint, number>();
  for (const source of sources)
    for (const [rank, { point }] of source.entries())
      scores.set(point, Math.fround((scores.get(point) ?? 0) + 1 / (k + rank)));
  return [...scores].map(([point, score]) => ({ point, score }));
}

function best(scored: Scored[], limit: number, threshold: number | undefined): Scored[] {
  return scored
    .filter(({ score }) => threshold === undefined || score >= threshold)
    .sort((a, b) => b.score - a.score || compareIds(a.point.id, b.point.id))
    .slice(0, limit);
}

/** Undefined where a sparse vector shares no index with the query: such points are not found. */
function scoreOf(query: StoredVector, stored: StoredVector): number | undefined {
  if (query.kind === 'sparse' && stored.kind === 'sparse') {
    const weights = new Map(query.indices.map((index, i) => [index, query.values[i]!]));
    let sum: number | undefined;
    stored.indices.forEach((index, i) => {
      const weight = weights.get(index);
      if (weight !== undefined) sum = (sum ?? 0) + weight * stored.values[i]!;
    });
    return sum;
  }
  if (query.kind === 'dense' && stored.kind === 'dense') return dot(query.values, stored.values);
  if (query.kind === 'multi' && stored.kind === 'multi')
    return query.rows.reduce((sum, row) => sum + Math.max(...stored.rows.map((other) => dot(row, other))), 0);
  return undefined;
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
