import { TrivecError } from '../errors.ts';
import type { Document } from './records.ts';

export const MAX_ID_BYTES = 512;

const FIELDS = ['id', 'text', 'payload'];

/** Where a document was read, for messages: a line of NDJSON (from 1), or an item of `documents` (from 0). */
export type Place = { line: number } | { index: number };

/**
 * Checks one document: `{id: string | safe integer, text: string, payload?: object}` and nothing else.
 * Throws `invalid_document`, naming place, field and limit.
 */
export function parseDocument(value: unknown, place: Place): Document {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(place, undefined, `must be an object with id and text, not ${kindOf(value)}`);
  // Own fields only: a `__proto__` in JSON is an own field, and unknown like any other.
  for (const field of Object.keys(value))
    if (!FIELDS.includes(field))
      throw invalid(place, field, `is not a field of a document; there are ${FIELDS.join(', ')}`);
  const { id, text, payload } = value as Record<string, unknown>;
  const document: Document = { id: parseId(id, place), text: parseText(text, place) };
  if (payload === undefined || payload === null) return document;
  if (typeof payload !== 'object' || Array.isArray(payload))
    throw invalid(place, 'payload', `must be an object, not ${kindOf(payload)}`);
  document.payload = payload as Record<string, unknown>;
  return document;
}

function parseId(id: unknown, place: Place): string {
  if (typeof id === 'number') {
    if (!Number.isSafeInteger(id))
      throw invalid(place, 'id', `must be a string or an integer of at most ±(2^53 − 1)`);
    return String(id);
  }
  if (id === undefined) throw invalid(place, 'id', 'is missing');
  if (typeof id !== 'string') throw invalid(place, 'id', `must be a string or an integer, not ${kindOf(id)}`);
  if (id === '') throw invalid(place, 'id', 'must not be empty');
  if (id.includes('\0')) throw invalid(place, 'id', 'must not contain a NUL character');
  if (!id.isWellFormed()) throw invalid(place, 'id', 'must be valid Unicode: it has a lone surrogate');
  const bytes = Buffer.byteLength(id);
  if (bytes > MAX_ID_BYTES)
    throw invalid(place, 'id', `has ${bytes} bytes in UTF-8; the limit is ${MAX_ID_BYTES}`);
  return id;
}

function parseText(text: unknown, place: Place): string {
  if (text === undefined) throw invalid(place, 'text', 'is missing');
  if (typeof text !== 'string') throw invalid(place, 'text', `must be a string, not ${kindOf(text)}`);
  if (text.trim() === '') throw invalid(place, 'text', 'must not be empty or blank');
  return text;
}

function invalid(place: Place, field: string | undefined, problem: string): TrivecError {
  return new TrivecError('invalid_document', `${describePlace(place, field)} ${problem}.`, {
    param: paramOf(place, field),
  });
}

/** `Line 17: text` or `documents[3].text`. */
export function describePlace(place: Place, field?: string): string {
  if ('line' in place)
    return field === undefined ? `Line ${place.line}` : `Line ${place.line}: ${shown(field)}`;
  return paramOf(place, field);
}

export function paramOf(place: Place, field?: string): string {
  const item = 'line' in place ? `line ${place.line}` : `documents[${place.index}]`;
  if (field === undefined || 'line' in place) return item;
  return `${item}.${shown(field)}`;
}

/** A field's name comes from outside, too: messages stay short and on one line. */
function shown(field: string): string {
  if (/^[\w.-]{1,64}$/.test(field)) return field;
  return JSON.stringify(field.length > 64 ? `${field.slice(0, 64)}…` : field);
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
