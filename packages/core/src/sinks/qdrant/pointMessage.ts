import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { Point, PointVector } from './points.ts';

/*
 * Numbers of the fields, from points.proto, qdrant_common.proto and json_with_int.proto of Qdrant 1.18. A map is a
 * repeated message of key 1 and value 2.
 */
const POINT = { id: 1, payload: 3, vectors: 4 };
const POINT_ID = { num: 1, uuid: 2 };
const VECTORS = { named: 2 };
const NAMED_VECTORS = { vectors: 1 };
const ENTRY = { key: 1, value: 2 };
const VECTOR = { dense: 101, sparse: 102, multi: 103 };
const DENSE = { data: 1 };
const SPARSE = { values: 1, indices: 2 };
const MULTI = { vectors: 1 };
const VALUE = { null: 1, double: 2, integer: 3, string: 4, bool: 5, struct: 6, list: 7 };
const STRUCT = { fields: 1 };
const LIST = { values: 1 };

/**
 * Levels of a payload that go as messages, by far enough. Qdrant's JSON parser refuses more than 127; as messages
 * 1.18.3 takes them, and fails to read the point back.
 */
const MAX_PAYLOAD_DEPTH = 32;

const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/**
 * A point as `qdrant.PointStruct`, saying what JSON would say of it. Written field by field: a generated encoder
 * would take arrays of numbers, one float of a ColBERT matrix after the other. Undefined where the payload is nested
 * so deeply that JSON has to carry it.
 */
export function pointMessage({ id, vectors, payload }: Point): Uint8Array | undefined {
  if (!isShallow(payload, MAX_PAYLOAD_DEPTH)) return undefined;
  const out = new BinaryWriter();
  message(out, POINT.id, () => {
    if (typeof id === 'number') out.tag(POINT_ID.num, WireType.Varint).uint64(id);
    else out.tag(POINT_ID.uuid, WireType.LengthDelimited).string(id);
  });
  for (const [key, value] of Object.entries(payload)) writeEntry(out, POINT.payload, key, value);
  message(out, POINT.vectors, () => {
    message(out, VECTORS.named, () => {
      for (const [name, vector] of vectors)
        message(out, NAMED_VECTORS.vectors, () => {
          out.tag(ENTRY.key, WireType.LengthDelimited).string(name);
          message(out, ENTRY.value, () => writeVector(out, vector));
        });
    });
  });
  return out.finish();
}

function message(out: BinaryWriter, field: number, write: () => void): void {
  out.tag(field, WireType.LengthDelimited).fork();
  write();
  out.join();
}

function writeVector(out: BinaryWriter, vector: PointVector): void {
  if (vector.kind === 'dense') message(out, VECTOR.dense, () => writeFloats(out, DENSE.data, vector.values));
  else if (vector.kind === 'sparse')
    message(out, VECTOR.sparse, () => {
      writeFloats(out, SPARSE.values, vector.values);
      message(out, SPARSE.indices, () => {
        for (const index of vector.indices) out.uint32(index);
      });
    });
  else {
    const { dims } = vector;
    const values = vector.values instanceof Float32Array ? vector.values : new Float32Array(vector.values);
    message(out, VECTOR.multi, () => {
      for (let begin = 0; begin < values.length; begin += dims)
        message(out, MULTI.vectors, () => writeFloats(out, DENSE.data, values.subarray(begin, begin + dims)));
    });
  }
}

/** Packed: the floats' own bytes. */
function writeFloats(out: BinaryWriter, field: number, values: Float32Array): void {
  out.tag(field, WireType.LengthDelimited);
  if (LITTLE_ENDIAN) {
    out.bytes(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    return;
  }
  out.fork();
  for (const value of values) out.float(value);
  out.join();
}

function writeEntry(out: BinaryWriter, field: number, key: string, value: unknown): void {
  message(out, field, () => {
    out.tag(ENTRY.key, WireType.LengthDelimited).string(key.toWellFormed());
    message(out, ENTRY.value, () => writeValue(out, value));
  });
}

function writeValue(out: BinaryWriter, value: unknown): void {
  if (typeof value === 'string') out.tag(VALUE.string, WireType.LengthDelimited).string(value.toWellFormed());
  else if (typeof value === 'boolean') out.tag(VALUE.bool, WireType.Varint).bool(value);
  else if (typeof value === 'number' && Number.isFinite(value)) writeNumber(out, value);
  else if (Array.isArray(value))
    message(out, VALUE.list, () => {
      for (const item of value) message(out, LIST.values, () => writeValue(out, item));
    });
  else if (typeof value === 'object' && value !== null)
    message(out, VALUE.struct, () => {
      for (const [key, inner] of Object.entries(value)) writeEntry(out, STRUCT.fields, key, inner);
    });
  else out.tag(VALUE.null, WireType.Varint).uint32(0);
}

/** An integer is what JSON prints without point and exponent: 2^60 is 1152921504606847000 there, and so it is here. */
function writeNumber(out: BinaryWriter, value: number): void {
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 63) {
    const printed = BigInt(String(value));
    if (BigInt.asIntN(64, printed) === printed) {
      out.tag(VALUE.integer, WireType.Varint).int64(printed);
      return;
    }
  }
  out.tag(VALUE.double, WireType.Bit64).double(value);
}

function isShallow(value: unknown, left: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return left > 0 && Object.values(value).every((inner) => isShallow(inner, left - 1));
}
