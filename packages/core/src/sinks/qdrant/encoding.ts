import { JsonBytes } from '../../vectors/jsonBytes.ts';
import type { PointId } from './pointId.ts';
import { pointMessage } from './pointMessage.ts';
import type { Point, PointVector } from './points.ts';

/** How points travel: as JSON by REST, as protobuf messages by gRPC. */
export type Wire = 'json' | 'protobuf';

/** One point as an upsert carries it. */
export interface EncodedPoint {
  id: PointId;
  /** The document it belongs to. */
  documentId: string;
  wire: Wire;
  bytes: Uint8Array;
}

/**
 * Qdrant's `max_request_size_mb` of 32: a larger body is refused with 400. By gRPC it takes any size; the same bound
 * holds here for its memory's sake.
 */
export const QDRANT_BODY_LIMIT_BYTES = 32 * 1024 ** 2;

const PREFIX = Buffer.from('{"points":[');
const COMMA = Buffer.from(',');
const SUFFIX = Buffer.from(']}');

/** Bytes of a request beside its points', and beside each point's own. Upper bounds for protobuf. */
const OVERHEAD: Record<Wire, { frame: number; point: number }> = {
  json: { frame: PREFIX.length + SUFFIX.length, point: COMMA.length },
  // The name of the collection has 255 bytes at most; each point has a tag and its length.
  protobuf: { frame: 300, point: 6 },
};

/** For `wire`; as JSON, where a message cannot hold the point. Both say exactly the same to Qdrant. */
export function encodePoint(point: Point, wire: Wire): EncodedPoint {
  const { id } = point;
  const documentId = point.payload.trivec.id;
  const message = wire === 'protobuf' ? pointMessage(point) : undefined;
  return message === undefined
    ? { id, documentId, wire: 'json', bytes: pointJson(point) }
    : { id, documentId, wire, bytes: message };
}

/** `{"id", "vector": {name: …}, "payload"}`, every float with the fewest digits that give the same float32. */
function pointJson(point: Point): Buffer {
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
  return out.take();
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

/** Consecutive points into groups that make one request each. No group is empty, or has points of both wires. */
export class PointPacker {
  readonly #limits: PackLimits;
  #points: EncodedPoint[] = [];
  #bytes = 0;

  constructor(limits: PackLimits) {
    this.#limits = limits;
  }

  /** The group that is full, if `point` does not go with it. */
  add(point: EncodedPoint): EncodedPoint[] | undefined {
    const first = this.#points[0];
    const { frame, point: each } = OVERHEAD[point.wire];
    const bytes = point.bytes.length + each;
    const full =
      first !== undefined &&
      (first.wire !== point.wire ||
        this.#points.length >= this.#limits.maxPoints ||
        this.#bytes + bytes > this.#limits.maxBytes);
    const group = full ? this.take() : undefined;
    if (this.#points.length === 0) this.#bytes = frame;
    this.#points.push(point);
    this.#bytes += bytes;
    return group;
  }

  /** What is left, if anything. */
  take(): EncodedPoint[] | undefined {
    if (this.#points.length === 0) return undefined;
    const group = this.#points;
    this.#points = [];
    return group;
  }
}

/** The body of `PUT /collections/{name}/points`. */
export function upsertBody(points: readonly EncodedPoint[]): Buffer {
  const pieces: Uint8Array[] = [PREFIX];
  points.forEach((point, i) => {
    if (i > 0) pieces.push(COMMA);
    pieces.push(point.bytes);
  });
  pieces.push(SUFFIX);
  return Buffer.concat(pieces);
}

/** Bytes of a request for one point alone; never less. */
export function aloneBytes({ wire, bytes }: EncodedPoint): number {
  return bytes.length + OVERHEAD[wire].frame + (wire === 'protobuf' ? OVERHEAD.protobuf.point : 0);
}
