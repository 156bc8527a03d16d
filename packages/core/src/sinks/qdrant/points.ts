import type { SparseVector } from '../../vectors/types.ts';
import type { QdrantDestination } from './destination.ts';
import { type PointId, partPointIdOf } from './pointId.ts';

/** One embedded text. ColBERT may be float16, as job results hold it. */
export interface SinkText {
  dense?: Float32Array;
  sparse?: SparseVector;
  colbert?: { rows: number; dims: number; data: Float32Array | Float16Array };
  /** What was embedded; only needed when the destination wants texts. */
  text?: string;
}

/** A document as it goes to a sink: its texts in order, one unless it was chunked. */
export interface SinkDocument {
  id: string;
  payload?: Record<string, unknown>;
  texts: readonly SinkText[];
}

/** What every point says of itself, under payload key `trivec`: which document, which of its points. */
export interface PointOrigin {
  /** The document's own id, as the client gave it. */
  id: string;
  job: string;
  /** Which chunk of the document, from 0. */
  chunk: number;
  /** Which of the document's `points` this is, from 0. More than one a chunk where ColBERT was cut. */
  point: number;
  points: number;
}

export interface Point {
  id: PointId;
  /** By the collection's vector names. */
  vectors: Map<string, PointVector>;
  payload: Record<string, unknown> & { trivec: PointOrigin };
}

export type PointVector =
  | { kind: 'dense'; values: Float32Array }
  | { kind: 'sparse'; indices: Uint32Array; values: Float32Array }
  /** Rows of `dims`, row-major. */
  | { kind: 'multi'; dims: number; values: Float32Array | Float16Array };

export type PointsOfDocument =
  | { points: Point[]; overflowed: number }
  /** Why the document cannot be written. */
  | { refused: string };

/** A multivector holds fewer floats than this (qdrant 1.18 and 1.19, `MAX_MULTIVECTOR_FLATTENED_LEN`). */
const MULTIVECTOR_FLOATS_LIMIT = 1_048_576;

/** Rows of `dims` that one multivector may have: 1,023 of 1024. */
export function maxMultivectorRows(dims: number): number {
  return Math.floor((MULTIVECTOR_FLOATS_LIMIT - 1) / dims);
}

type PointRules = Pick<QdrantDestination, 'vectors' | 'payload' | 'text' | 'colbertOverflow'>;

/** The points of one document. The same document gives the same ids, whoever makes them and how often. */
export function pointsOf(document: SinkDocument, rules: PointRules, job: string): PointsOfDocument {
  const parts: { chunk: number; vectors: Map<string, PointVector>; text: string | undefined }[] = [];
  let overflowed = 0;
  for (const [chunk, text] of document.texts.entries()) {
    const matrices = colbertParts(text, rules);
    if (matrices === 'refused') return { refused: overflowMessage(text.colbert!) };
    if (matrices.overflowed) overflowed++;
    for (const matrix of matrices.parts)
      parts.push({ chunk, vectors: vectorsOf(text, matrix, rules), text: text.text });
  }
  const shared = selectPayload(document.payload, rules.payload);
  const points = parts.map((part, ordinal) => ({
    id: partPointIdOf(document.id, ordinal),
    vectors: part.vectors,
    payload: {
      ...shared,
      ...(rules.text && part.text !== undefined ? { text: part.text } : {}),
      trivec: { id: document.id, job, chunk: part.chunk, point: ordinal, points: parts.length },
    },
  }));
  return { points, overflowed };
}

type Matrix = NonNullable<SinkText['colbert']>;

/** One entry a point: the ColBERT rows it carries, or none. */
function colbertParts(
  text: SinkText,
  rules: PointRules,
): 'refused' | { parts: (Matrix | undefined)[]; overflowed: boolean } {
  const matrix = text.colbert;
  // Qdrant refuses an empty multivector; a text of special tokens only can have one.
  if (rules.vectors.colbert === undefined || matrix === undefined || matrix.rows === 0)
    return { parts: [undefined], overflowed: false };
  const limit = maxMultivectorRows(matrix.dims);
  if (matrix.rows <= limit) return { parts: [matrix], overflowed: false };
  switch (rules.colbertOverflow) {
    case 'fail':
      return 'refused';
    case 'drop':
      return { parts: [undefined], overflowed: true };
    case 'pool':
      return { parts: [poolRows(matrix, Math.ceil(matrix.rows / limit))], overflowed: true };
    case 'chunk':
      return { parts: splitRows(matrix, Math.ceil(matrix.rows / limit)), overflowed: true };
  }
}

function overflowMessage({ rows, dims }: Matrix): string {
  const limit = maxMultivectorRows(dims);
  return (
    `Its ColBERT matrix has ${rows} rows of ${dims}; Qdrant takes at most ${limit}. ` +
    'Set colbertOverflow to chunk, pool or drop, or send shorter texts.'
  );
}

/** `count` matrices of nearly equal height, views of the same memory. */
function splitRows({ rows, dims, data }: Matrix, count: number): Matrix[] {
  return Array.from({ length: count }, (_, part) => {
    const begin = Math.floor((rows * part) / count);
    const end = Math.floor((rows * (part + 1)) / count);
    return { rows: end - begin, dims, data: data.subarray(begin * dims, end * dims) };
  });
}

/** Each `group` neighbouring rows become their mean, L2-normalised; the last group may be smaller. */
function poolRows({ rows, dims, data }: Matrix, group: number): Matrix {
  const pooledRows = Math.ceil(rows / group);
  const pooled = new Float32Array(pooledRows * dims);
  for (let row = 0; row < pooledRows; row++) {
    const target = pooled.subarray(row * dims, (row + 1) * dims);
    for (let from = row * group; from < Math.min(rows, (row + 1) * group); from++)
      for (let i = 0; i < dims; i++) target[i]! += data[from * dims + i]!;
    let squares = 0;
    for (const value of target) squares += value * value;
    const norm = Math.max(Math.sqrt(squares), 1e-12);
    for (let i = 0; i < dims; i++) target[i]! /= norm;
  }
  return { rows: pooledRows, dims, data: pooled };
}

function vectorsOf(text: SinkText, matrix: Matrix | undefined, rules: PointRules): Map<string, PointVector> {
  const vectors = new Map<string, PointVector>();
  const { dense, sparse, colbert } = rules.vectors;
  if (dense !== undefined && text.dense) vectors.set(dense, { kind: 'dense', values: text.dense });
  if (sparse !== undefined && text.sparse) vectors.set(sparse, { kind: 'sparse', ...text.sparse });
  if (colbert !== undefined && matrix)
    vectors.set(colbert, { kind: 'multi', dims: matrix.dims, values: matrix.data });
  return vectors;
}

function selectPayload(
  payload: Record<string, unknown> | undefined,
  wanted: true | readonly string[],
): Record<string, unknown> {
  if (payload === undefined) return {};
  const names =
    wanted === true ? Object.keys(payload) : wanted.filter((name) => Object.hasOwn(payload, name));
  // Entries, not assignment: a field called `__proto__` is data like any other.
  return Object.fromEntries(names.map((name) => [name, payload[name]]));
}
