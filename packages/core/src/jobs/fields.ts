import { TrivecError } from '../errors.ts';
import { describePlace, type Place, paramOf } from './place.ts';
import { isBlank } from './textRules.ts';

/** Which fields of somebody else's records make a document. */
export interface FieldMapping {
  id: string;
  /** Joined by a line break; missing, null and blank ones are left out. */
  text: readonly string[];
  /** Names; `true` is every field that is neither id nor text; absent, no payload. */
  payload?: readonly string[] | true;
}

/** As a client gives it: absent ones are the names of a document's own fields. */
export interface RequestedFields {
  id?: string;
  text?: string | readonly string[];
  payload?: readonly string[] | true;
}

const MAX_FIELDS = 64;

/** Throws `invalid_request` for a mapping without a text, or with more than 64 names. */
export function resolveFields(requested: RequestedFields): FieldMapping {
  const text = requested.text === undefined ? ['text'] : [requested.text].flat();
  const { id = 'id', payload } = requested;
  if (text.length === 0)
    throw new TrivecError('invalid_request', 'fields.text must name at least one field.', {
      param: 'fields.text',
    });
  for (const [param, names] of Object.entries({ text, payload: payload === true ? [] : (payload ?? []) }))
    if (names.length > MAX_FIELDS)
      throw new TrivecError('invalid_request', `fields.${param} names more than ${MAX_FIELDS} fields.`, {
        param: `fields.${param}`,
      });
  return { id, text, ...(payload !== undefined && { payload }) };
}

/**
 * The record as `{id, text, payload?}`, still unchecked but for what only the mapping can tell: throws
 * `invalid_document` where a text field holds no text, or none of them is there.
 */
export function mapRecord(
  record: Record<string, unknown>,
  mapping: FieldMapping,
  place: Place,
): Record<string, unknown> {
  const own = (name: string) => (Object.hasOwn(record, name) ? record[name] : undefined);
  const parts: string[] = [];
  for (const name of mapping.text) {
    const value = own(name);
    if (value === undefined || value === null) continue;
    if (typeof value !== 'string') throw refusal(place, name, 'must be a string');
    if (!isBlank(value)) parts.push(value);
  }
  if (parts.length === 0)
    throw refusal(place, mapping.text.join(', '), 'has no text: missing, empty or blank');
  return { id: own(mapping.id), text: parts.join('\n'), payload: payloadOf(record, mapping) };
}

function payloadOf(
  record: Record<string, unknown>,
  { id, text, payload }: FieldMapping,
): Record<string, unknown> | undefined {
  if (payload === undefined) return undefined;
  const wanted =
    payload === true
      ? Object.keys(record).filter((name) => name !== id && !text.includes(name))
      : payload.filter((name) => Object.hasOwn(record, name));
  // Makes own fields of them all, whatever their names.
  return Object.fromEntries(wanted.map((name) => [name, record[name]]));
}

function refusal(place: Place, field: string, problem: string): TrivecError {
  return new TrivecError('invalid_document', `${describePlace(place, field)} ${problem}.`, {
    param: paramOf(place, field),
  });
}
