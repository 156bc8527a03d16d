import { type Static, Type } from 'typebox';
import { OUTPUTS, type Output } from '../../vectors/types.ts';
import { TARGET_NAME } from './targets.ts';

const COLBERT_OVERFLOWS = ['chunk', 'pool', 'drop', 'fail'] as const;
/**
 * What becomes of a ColBERT matrix that is larger than a Qdrant multivector may be:
 * - `chunk`: every row is kept, in several points that repeat dense, sparse and payload;
 * - `pool`: one point, neighbouring rows averaged and normalised again;
 * - `drop`: one point without ColBERT;
 * - `fail`: the document fails.
 */
export type ColbertOverflow = (typeof COLBERT_OVERFLOWS)[number];

const IF_EXISTS = ['upsert', 'fail', 'replace'] as const;
export type IfExists = (typeof IF_EXISTS)[number];

/** Names of the vectors in the collection; an output that is not named is not sent. `""` is Qdrant's unnamed one. */
export type VectorNames = { readonly [K in Output]?: string };

const VectorNameSchema = Type.Optional(
  Type.String({ maxLength: 200, pattern: '^[^<>:"/\\\\|?*\\x00-\\x1f]*$' }),
);

/** Room for `__trivec_` and a job's id, within the 255 bytes that Qdrant allows. `.` and `..` are steps in the path of a URL. */
export const CollectionNameSchema = Type.String({
  minLength: 1,
  maxLength: 200,
  pattern: '^[^<>:"/\\\\|?*\\x00-\\x1f]+$',
  not: { enum: ['.', '..'] },
  description: "A collection's name, or an alias.",
});

/** A server by the name that the configuration gives it: never an address. */
export const TargetSchema = Type.String({
  pattern: TARGET_NAME,
  description: 'A server of QDRANT_TARGETS; without it the one of QDRANT_URL.',
});

/** A job's `destination` as a client gives it. */
export const DestinationSchema = Type.Object(
  {
    type: Type.Literal('qdrant'),
    target: Type.Optional(TargetSchema),
    collection: CollectionNameSchema,
    create: Type.Optional(
      Type.Boolean({ description: 'Make the collection if there is none (default true).' }),
    ),
    vectors: Type.Optional(
      Type.Object(
        { dense: VectorNameSchema, sparse: VectorNameSchema, colbert: VectorNameSchema },
        {
          additionalProperties: false,
          description: 'Names in the collection; an output without one is not sent. Default: each its own.',
        },
      ),
    ),
    payload: Type.Optional(
      Type.Union([Type.Boolean(), Type.Array(Type.String({ minLength: 1 }))], {
        description: 'Fields of the payload to send; default true, all of them.',
      }),
    ),
    text: Type.Optional(
      Type.Boolean({ description: 'Send the text as payload field `text` (default true).' }),
    ),
    deferIndexing: Type.Optional(
      Type.Boolean({
        description: 'No HNSW graph while loading; only for a collection that this job makes (default true).',
      }),
    ),
    ifExists: Type.Optional(
      Type.Enum([...IF_EXISTS], {
        description: 'upsert into it (default), fail, or replace: build aside and swap an alias.',
      }),
    ),
    deleteStaleChunks: Type.Optional(
      Type.Boolean({ description: 'Remove points that a document no longer has (default true).' }),
    ),
    colbertOverflow: Type.Optional(
      Type.Enum([...COLBERT_OVERFLOWS], {
        description:
          'For a ColBERT matrix over the limit of 1,048,575 floats. Default chunk: several points, no row lost.',
      }),
    ),
  },
  { additionalProperties: false, description: 'Where the vectors are also sent.' },
);

export type RequestedDestination = Static<typeof DestinationSchema>;

/** A job's `destination`, defaults filled in. The server's address is configuration, never part of it. */
export interface QdrantDestination {
  type: 'qdrant';
  /** A server of QDRANT_TARGETS; absent: the one of QDRANT_URL. */
  target?: string;
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

export function resolveDestination(requested: RequestedDestination): QdrantDestination {
  const { payload = true, vectors = Object.fromEntries(OUTPUTS.map((output) => [output, output])) } =
    requested;
  return {
    type: 'qdrant',
    ...(requested.target !== undefined && { target: requested.target }),
    collection: requested.collection,
    create: requested.create ?? true,
    vectors,
    payload: payload === false ? [] : payload,
    text: requested.text ?? true,
    deferIndexing: requested.deferIndexing ?? true,
    ifExists: requested.ifExists ?? 'upsert',
    deleteStaleChunks: requested.deleteStaleChunks ?? true,
    colbertOverflow: requested.colbertOverflow ?? 'chunk',
  };
}
