import { JsonBytes } from '../../vectors/jsonBytes.ts';
import type { PointId } from './pointId.ts';
import type { Point, PointVector } from './points.ts';

/** One point as the JSON that an upsert carries. */
export interface EncodedPoint {
  id: PointId;
  /** The document it belongs to. */
  documentId: string;
  json: Buffer;
}

/** Qdrant's `max_request_size_mb` of 32: a larger body is refused with 400. */
export const QDRANT_BODY_LIMIT_BYTES = 32 * 1024 ** 2;

const PREFIX = Buffer.from('{"points":[');
const COMMA = Buffer.from(',');
const SUFFIX = Buffer.from(']}');
const FRAME_BYTES = PREFIX.length + SUFFIX.length;

/** `{"id", "vector": {name: …}, "payload"}`, every float with the fewest digits that give the same float32. */
export function encodePoint(point: Point): EncodedPoint {
  const out = new JsonBytes(1024);
  out.raw('{"id":');
  out.json(point.id);
  out.raw(',"vector":{');
  let first = true;
  for (const [name, vector] of point.vectors) {
    if (!first) out.raw(',');
    first = false;
    out.json(name);
    out.raw(':');
    writeVector(out, vector);
  }
  out.raw('},"payload":');
  out.json(wellFormed(point.payload));
  out.raw('}');
  return { id: point.id, documentId: point.payload.trivec.id, json: out.take() };
}

function writeVector(out: JsonBytes, vector: PointVector): void {
  if (vector.kind === 'dense') {
    out.floats(vector.values);
  } else if (vector.kind === 'sparse') {
    out.raw('{"indices":');
    out.uints(vector.indices);
    out.raw(',"values":');
    out.floats(vector.values);
    out.raw('}');
  } else {
    const { dims, values } = vector;
    out.raw('[');
    for (let begin = 0; begin < values.length; begin += dims) {
      if (begin > 0) out.raw(',');
      if (begin === 0 && values.length === 2 * dims && looksLikeIndices(values.subarray(0, dims)))
        out.raw(`[${Array.from(values.subarray(0, dims), (value) => `${value}.0`).join(',')}]`);
      else out.floats(values, begin, begin + dims);
    }
    out.raw(']');
  }
}

/**
 * Qdrant tries "sparse vector" before "multivector", and takes `[[1,0],[0.5,0.5]]` for indices and values:
 * two rows, the first of them whole numbers (seen in 1.18.3). A decimal point makes it read on.
 */
function looksLikeIndices(row: Float32Array | Float16Array): boolean {
  return row.every((value) => Number.isInteger(value) && value >= 0 && value < 2 ** 32);
}

/** Lone surrogates become U+FFFD: Qdrant's JSON parser refuses the whole request for one. */
function wellFormed(payload: Point['payload']): unknown {
  const loneSurrogates = (_key: string, value: unknown) => {
    if (typeof value === 'string') return value.toWellFormed();
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    const keys = Object.keys(value);
    if (keys.every((key) => key.isWellFormed())) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key.toWellFormed(), inner]));
  };
  // JSON.stringify escapes surrogates only where they stand alone.
  return /\\ud[89a-f]/.test(JSON.stringify(payload))
    ? JSON.parse(JSON.stringify(payload, loneSurrogates))
    : payload;
}

export interface PackLimits {
  /** Bytes of one request body; a point that is larger by itself travels alone. */
  maxBytes: number;
  maxPoints: number;
}

/** Consecutive points into groups that make one request each. No group is empty. */
export class PointPacker {
  readonly #limits: PackLimits;
  #points: EncodedPoint[] = [];
  #bytes = FRAME_BYTES;

  constructor(limits: PackLimits) {
    this.#limits = limits;
  }

  /** The group that is full, if `point` no longer fits into it. */
  add(point: EncodedPoint): EncodedPoint[] | undefined {
    const full =
      this.#points.length > 0 &&
      (this.#points.length >= this.#limits.maxPoints ||
        this.#bytes + point.json.length + COMMA.length > this.#limits.maxBytes);
    const group = full ? this.take() : undefined;
    this.#points.push(point);
    this.#bytes += point.json.length + COMMA.length;
    return group;
  }

  /** What is left, if anything. */
  take(): EncodedPoint[] | undefined {
    if (this.#points.length === 0) return undefined;
    const group = this.#points;
    this.#points = [];
    this.#bytes = FRAME_BYTES;
    return group;
  }
}

/** The body of `PUT /collections/{name}/points`. */
export function upsertBody(points: readonly EncodedPoint[]): Buffer {
  const pieces: Buffer[] = [PREFIX];
  points.forEach((point, i) => {
    if (i > 0) pieces.push(COMMA);
    pieces.push(point.json);
  });
  pieces.push(SUFFIX);
  return Buffer.concat(pieces);
}

/** Bytes of `upsertBody` for one point alone. */
export function aloneBytes(point: EncodedPoint): number {
  return point.json.length + FRAME_BYTES;
}
