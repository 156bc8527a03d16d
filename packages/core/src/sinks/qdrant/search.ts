import type { Schemas } from '@qdrant/js-client-rest';
import { TrivecError } from '../../errors.ts';
import type { TextVectors, TokenMatrix } from '../../vectors/types.ts';
import type { VectorNames } from './destination.ts';
import { maxMultivectorRows, type PointOrigin } from './points.ts';

export const QDRANT_SEARCH_MODES = ['hybrid', 'dense', 'sparse', 'rerank'] as const;
export type QdrantSearchMode = (typeof QDRANT_SEARCH_MODES)[number];

export interface QdrantSearch {
  mode: QdrantSearchMode;
  limit: number;
  /** Qdrant's own filter, passed on as it is. */
  filter?: Record<string, unknown>;
}

export interface QdrantHit {
  /** The document's id; the point's where trivec did not write it. */
  id: string | number;
  chunk: number;
  /**
   * `dense` cosine; `sparse` dot product; `hybrid` reciprocal rank fusion; `rerank` the mean over the query's
   * tokens of their best match (Qdrant's max_sim is a sum; FlagEmbedding's score is this mean).
   */
  score: number;
  text: string | null;
  payload: Record<string, unknown>;
}

/** Candidates of each kind that fusion and re-ranking start from. */
const PREFETCH = 100;
/** Points asked for beyond the limit, since one text may be several points. */
const SPARE_POINTS = 10;

/** Outputs that a mode needs the query embedded for, among those the collection has. */
export function outputsFor(mode: QdrantSearchMode): ('dense' | 'sparse' | 'colbert')[] {
  if (mode === 'dense' || mode === 'sparse') return [mode];
  return mode === 'hybrid' ? ['dense', 'sparse'] : ['dense', 'sparse', 'colbert'];
}

/**
 * The body of `POST /collections/{name}/points/query`. Hybrid: both kinds fused by reciprocal rank; rerank:
 * the same candidates ordered by late interaction. Throws `invalid_request` where a vector is missing,
 * `text_too_long` where the query's ColBERT is over Qdrant's limit.
 */
export function searchBody(
  vectors: TextVectors,
  names: VectorNames,
  search: QdrantSearch,
): Schemas['QueryRequest'] {
  const { mode, filter } = search;
  const limit = search.limit + SPARE_POINTS;
  const common = { limit, with_payload: true, ...(filter && { filter: filter as Schemas['Filter'] }) };
  if (mode === 'dense' || mode === 'sparse') return { ...nearest(mode, vectors, names), ...common };
  const prefetch = (['dense', 'sparse'] as const)
    .filter((output) => names[output] !== undefined && vectors[output] !== undefined)
    .map((output) => ({ ...nearest(output, vectors, names), ...common, limit: Math.max(PREFETCH, limit) }))
    .map(({ with_payload: _, ...inner }) => inner);
  if (prefetch.length === 0) throw missing('dense or sparse', mode);
  const fused = { prefetch, query: { fusion: 'rrf' as const } };
  if (mode === 'hybrid') return { ...fused, ...common };
  const matrix = vectors.colbert;
  if (matrix === undefined || names.colbert === undefined) throw missing('colbert', mode);
  return {
    prefetch: {
      ...fused,
      limit: Math.max(PREFETCH, limit),
      ...(filter && { filter: filter as Schemas['Filter'] }),
    },
    query: rowsOf(matrix),
    using: names.colbert,
    ...common,
  };
}

function nearest(output: 'dense' | 'sparse', vectors: TextVectors, names: VectorNames) {
  const using = names[output];
  const vector = output === 'dense' ? vectors.dense : vectors.sparse;
  if (using === undefined || vector === undefined) throw missing(output, output);
  const query =
    vector instanceof Float32Array
      ? Array.from(vector)
      : { indices: Array.from(vector.indices), values: Array.from(vector.values) };
  return { query, ...(using !== '' && { using }) };
}

function rowsOf({ rows, dims, data }: TokenMatrix): number[][] {
  const limit = maxMultivectorRows(dims);
  if (rows > limit)
    throw new TrivecError(
      'text_too_long',
      `A query to re-rank with may have at most ${limit} tokens, not ${rows}.`,
      {
        param: 'query',
      },
    );
  return Array.from({ length: rows }, (_, row) => Array.from(data.subarray(row * dims, (row + 1) * dims)));
}

function missing(output: string, mode: string): TrivecError {
  return new TrivecError(
    'invalid_request',
    `Search mode ${mode} needs a ${output} vector in the collection and from the model.`,
    { param: 'mode' },
  );
}

/** Best first. Of the points that one text was cut into, the best stands for all. */
export function readHits(
  points: readonly Pick<Schemas['ScoredPoint'], 'id' | 'score' | 'payload'>[],
  search: QdrantSearch,
  queryRows: number,
): QdrantHit[] {
  const seen = new Set<string>();
  const hits: QdrantHit[] = [];
  for (const point of points) {
    const { trivec, text, ...payload } = point.payload ?? {};
    const origin = isOrigin(trivec) ? trivec : undefined;
    const id = origin?.id ?? point.id;
    const chunk = origin?.chunk ?? 0;
    const key = `${chunk} ${id}`;
    if (seen.has(key)) continue;
    seen.add(key);
    hits.push({
      id,
      chunk,
      score: search.mode === 'rerank' ? point.score / Math.max(1, queryRows) : point.score,
      text: typeof text === 'string' ? text : null,
      payload,
    });
    if (hits.length === search.limit) break;
  }
  return hits;
}

function isOrigin(value: unknown): value is PointOrigin {
  return typeof value === 'object' && value !== null && 'id' in value && 'chunk' in value;
}

/** Numbers of the collection's dense vector. */
export function denseSizeOf(config: Schemas['CollectionConfig'], names: VectorNames): number | undefined {
  const vectors = (config.params.vectors ?? {}) as Record<string, Schemas['VectorParams']>;
  if (typeof vectors.size === 'number') return vectors.size;
  return names.dense === undefined ? undefined : vectors[names.dense]?.size;
}

/** The collection's vector names by output, read from its configuration: by kind, where a kind occurs once. */
export function namesFrom(config: Schemas['CollectionConfig']): VectorNames {
  const vectors = (config.params.vectors ?? {}) as Record<string, Schemas['VectorParams']>;
  const named =
    typeof vectors.size === 'number' ? { '': vectors as unknown as Schemas['VectorParams'] } : vectors;
  const dense: string[] = [];
  const colbert: string[] = [];
  for (const [name, vector] of Object.entries(named))
    (vector.multivector_config ? colbert : dense).push(name);
  const sparse = Object.keys(config.params.sparse_vectors ?? {});
  const pick = (output: string, all: string[]) =>
    all.length === 1 ? all[0] : all.find((name) => name === output);
  const names = {
    dense: pick('dense', dense),
    sparse: pick('sparse', sparse),
    colbert: pick('colbert', colbert),
  };
  return Object.fromEntries(Object.entries(names).filter(([, name]) => name !== undefined));
}
