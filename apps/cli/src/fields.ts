import { TrivecError } from '@trivec/core/errors';
import { isBlank } from '@trivec/core/jobs/textRules';
import type { SourceRecord } from './readers/recordFile.ts';

/** Which fields of a record make a document. */
export interface FieldMapping {
  /** Undefined numbers the documents by their position in the file. */
  id: string | undefined;
  /** Joined by a line break, empty ones left out. */
  text: readonly string[];
  /** Names, `all` (what is neither id nor text), or undefined: the record's own `payload`, if it is an object. */
  payload: readonly string[] | 'all' | undefined;
}

/** What POST /jobs takes as one line. */
export interface WireDocument {
  id: string | number;
  text: string;
  payload?: Record<string, unknown>;
}

/** Throws `invalid_document` naming the position and the field. */
export function toDocument(record: SourceRecord, unit: string, mapping: FieldMapping): WireDocument {
  const { fields, position } = record;
  const where = `${unit} ${position}`;
  const fail = (message: string) =>
    new TrivecError('invalid_document', `${capital(where)}: ${message}`, { param: where });

  const id = mapping.id === undefined ? position : idOf(fields, mapping.id, fail);
  const payload = payloadOf(fields, mapping, fail);
  const document: WireDocument = { id, text: textOf(fields, mapping.text, fail) };
  if (payload !== undefined) document.payload = payload;
  return document;
}

/** The fields a mapping reads, or undefined for all of them. */
export function mappedFields(mapping: FieldMapping): string[] | undefined {
  if (mapping.payload === 'all') return undefined;
  const id = mapping.id === undefined ? [] : [mapping.id];
  return [...new Set([...id, ...mapping.text, ...(mapping.payload ?? ['payload'])])];
}

type Fail = (message: string) => TrivecError;

function idOf(fields: Record<string, unknown>, name: string, fail: Fail): string | number {
  const value = fields[name];
  if (value === undefined || value === null) {
    throw fail(
      `there is no "${name}" to take the id from; it has ${names(fields)}. See --id-field and --number.`,
    );
  }
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (typeof value === 'string' && value !== '') return value;
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
  throw fail(`"${name}" is no id: it must be a string that is not empty, or an integer.`);
}

function textOf(fields: Record<string, unknown>, wanted: readonly string[], fail: Fail): string {
  const parts: string[] = [];
  for (const name of wanted) {
    const value = fields[name];
    if (value === undefined || value === null) continue;
    if (typeof value !== 'string') throw fail(`"${name}" is not text.`);
    if (!isBlank(value)) parts.push(value);
  }
  if (parts.length > 0) return parts.join('\n');
  const missing = wanted.every((name) => !(name in fields));
  const quoted = wanted.map((name) => `"${name}"`).join(', ');
  throw fail(
    missing
      ? `there is no ${quoted} to take the text from; it has ${names(fields)}. See --text-field.`
      : `no text in ${quoted}.`,
  );
}

function payloadOf(
  fields: Record<string, unknown>,
  mapping: FieldMapping,
  fail: Fail,
): Record<string, unknown> | undefined {
  if (mapping.payload === undefined) {
    const own = fields.payload;
    return typeof own === 'object' && own !== null && !Array.isArray(own)
      ? (jsonValue(own, 'payload', fail) as Record<string, unknown>)
      : undefined;
  }
  const used = new Set([mapping.id, ...mapping.text]);
  const wanted =
    mapping.payload === 'all' ? Object.keys(fields).filter((name) => !used.has(name)) : mapping.payload;
  const entries = wanted
    .filter((name) => fields[name] !== undefined)
    .map((name) => [name, jsonValue(fields[name], name, fail)] as const);
  return Object.fromEntries(entries);
}

/** Parquet has types that JSON lacks: big integers become numbers or else strings, dates ISO 8601. */
function jsonValue(value: unknown, name: string, fail: Fail): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Date) return value.toISOString();
  if (ArrayBuffer.isView(value)) throw fail(`"${name}" holds bytes, which a payload cannot.`);
  if (Array.isArray(value)) return value.map((item) => jsonValue(item, name, fail));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, jsonValue(item, name, fail)]));
}

function names(fields: Record<string, unknown>): string {
  const all = Object.keys(fields);
  if (all.length === 0) return 'no fields';
  return `${all.slice(0, 8).join(', ')}${all.length > 8 ? ', …' : ''}`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
