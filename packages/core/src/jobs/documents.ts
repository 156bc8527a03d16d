import { TrivecError } from '../errors.ts';
import { type FieldMapping, mapRecord } from './fields.ts';
import { describePlace, type Place, paramOf } from './place.ts';
import type { Document } from './records.ts';
import { isBlank } from './textRules.ts';

const MAX_ID_BYTES = 512;

const FIELDS = ['id', 'text', 'payload'];

/**
 * Checks one document: `{id: string | safe integer, text: string, payload?: object}` and nothing else; with a
 * mapping, one made of any record's fields. A lone surrogate in a text becomes U+FFFD. Throws
 * `invalid_document`, naming place, field and limit.
 */
export function parseDocument(value: unknown, place: Place, mapping?: FieldMapping): Document {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(place, undefined, `must be an object with id and text, not ${kindOf(value)}`);
  if (mapping !== undefined)
    return documentOf(mapRecord(value as Record<string, unknown>, mapping, place), place, mapping.id);
  // Own fields only: a `__proto__` in JSON is an own field, and unknown like any other.
  for (const field of Object.keys(value))
    if (!FIELDS.includes(field))
      throw invalid(place, field, `is not a field of a document; there are ${FIELDS.join(', ')}`);
  return documentOf(value as Record<string, unknown>, place);
}

function documentOf({ id, text, payload }: Record<string, unknown>, place: Place, idField = 'id'): Document {
  const document: Document = { id: parseId(id, place, idField), text: parseText(text, place) };
  if (payload === undefined || payload === null) return document;
  if (typeof payload !== 'object' || Array.isArray(payload))
    throw invalid(place, 'payload', `must be an object, not ${kindOf(payload)}`);
  document.payload = payload as Record<string, unknown>;
  return document;
}

function parseId(id: unknown, place: Place, field: string): string {
  if (typeof id === 'number') {
    if (!Number.isSafeInteger(id))
      throw invalid(place, field, `must be a string or an integer of at most ±(2^53 − 1)`);
    return String(id);
  }
  if (id === undefined) throw invalid(place, field, 'is missing');
  if (typeof id !== 'string')
    throw invalid(place, field, `must be a string or an integer, not ${kindOf(id)}`);
  if (id === '') throw invalid(place, field, 'must not be empty');
  if (id.includes('\0')) throw invalid(place, field, 'must not contain a NUL character');
  if (!id.isWellFormed()) throw invalid(place, field, 'must be valid Unicode: it has a lone surrogate');
  const bytes = Buffer.byteLength(id);
  if (bytes > MAX_ID_BYTES)
    throw invalid(place, field, `has ${bytes} bytes in UTF-8; the limit is ${MAX_ID_BYTES}`);
  return id;
}

function parseText(text: unknown, place: Place): string {
  if (text === undefined) throw invalid(place, 'text', 'is missing');
  if (typeof text !== 'string') throw invalid(place, 'text', `must be a string, not ${kindOf(text)}`);
  if (isBlank(text)) throw invalid(place, 'text', 'must not be empty or blank');
  if (text.includes('\0')) throw invalid(place, 'text', 'must not contain a NUL character');
  // What a cut through an emoji leaves. The replacement is as long: offsets of chunks stay those of the sender's text.
  return text.toWellFormed();
}

function invalid(place: Place, field: string | undefined, problem: string): TrivecError {
  return new TrivecError('invalid_document', `${describePlace(place, field)} ${problem}.`, {
    param: paramOf(place, field),
  });
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
