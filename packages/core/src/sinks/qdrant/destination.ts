import type { Output } from '../../vectors/types.ts';

export const COLBERT_OVERFLOWS = ['chunk', 'pool', 'drop', 'fail'] as const;
/**
 * What becomes of a ColBERT matrix that is larger than a Qdrant multivector may be:
 * - `chunk`: every row is kept, in several points that repeat dense, sparse and payload;
 * - `pool`: one point, neighbouring rows averaged and normalised again;
 * - `drop`: one point without ColBERT;
 * - `fail`: the document fails.
 */
export type ColbertOverflow = (typeof COLBERT_OVERFLOWS)[number];

export const IF_EXISTS = ['upsert', 'fail', 'replace'] as const;
export type IfExists = (typeof IF_EXISTS)[number];

/** Names of the vectors in the collection; an output that is not named is not sent. `""` is Qdrant's unnamed one. */
export type VectorNames = { readonly [K in Output]?: string };

/** A job's `destination`, defaults filled in. The server's address is configuration, never part of it. */
export interface QdrantDestination {
  type: 'qdrant';
  collection: string;
  /** Make the collection if there is none. */
  create: boolean;
  vectors: VectorNames;
  /** The documents' payload fields to send; true sends all. */
  payload: true | readonly string[];
  /** Send the text too, as payload field `text`. */
  text: boolean;
  /** No HNSW graph while loading. Only for a collection that this job makes. */
  deferIndexing: boolean;
  ifExists: IfExists;
  /** Remove the points that a document no longer has, when it was cut into more of them before. */
  deleteStaleChunks: boolean;
  colbertOverflow: ColbertOverflow;
}
