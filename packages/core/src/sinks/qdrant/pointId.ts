import { createHash } from 'node:crypto';

/** A Qdrant point id: an unsigned integer, at most 2^53 − 1 here, or a UUID in lower case. */
export type PointId = number | string;

/** Namespace of the UUIDv5 (RFC 9562) that trivec derives. Fixed for ever: a retry must find the same point. */
export const POINT_NAMESPACE = '1df80578-d506-5a61-8fe0-9a9ff0c29e64';

const NAMESPACE_BYTES = Buffer.from(POINT_NAMESPACE.replaceAll('-', ''), 'hex');
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const CANONICAL_INTEGER = /^(0|[1-9]\d{0,15})$/;

/**
 * The point of a document: an unsigned integer (`42` and `"42"` alike) and a UUID are kept, anything else
 * becomes UUIDv5(POINT_NAMESPACE, id). Two spellings of one UUID are one point, as they are to Qdrant.
 */
export function pointIdOf(documentId: string): PointId {
  if (CANONICAL_INTEGER.test(documentId)) {
    const number = Number(documentId);
    if (Number.isSafeInteger(number)) return number;
  }
  if (UUID.test(documentId)) return documentId.toLowerCase();
  return uuidV5(documentId);
}

/**
 * The `ordinal`-th point of a document that needs several: the first has the document's own id, the others
 * UUIDv5(POINT_NAMESPACE, id NUL ordinal). NUL cannot stand in a document's id, so no two names are equal.
 */
export function partPointIdOf(documentId: string, ordinal: number): PointId {
  return ordinal === 0 ? pointIdOf(documentId) : uuidV5(`${documentId}\0${ordinal}`);
}

function uuidV5(name: string): string {
  const hash = createHash('sha1').update(NAMESPACE_BYTES).update(name, 'utf8').digest();
  hash[6] = (hash[6]! & 0x0f) | 0x50;
  hash[8] = (hash[8]! & 0x3f) | 0x80;
  const hex = hash.toString('hex', 0, 16);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
