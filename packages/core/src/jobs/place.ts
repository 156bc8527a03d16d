/** Where a document was read, for messages: a line of NDJSON (from 1), of a named file, or an item of `documents` (from 0). */
export type Place = { line: number; file?: string } | { index: number };

/** `Line 17: text` or `documents[3].text`. */
export function describePlace(place: Place, field?: string): string {
  if ('line' in place) {
    const line = place.file === undefined ? `Line ${place.line}` : `${place.file}, line ${place.line}`;
    return field === undefined ? line : `${line}: ${shown(field)}`;
  }
  return paramOf(place, field);
}

export function paramOf(place: Place, field?: string): string {
  const item = 'line' in place ? lineParam(place) : `documents[${place.index}]`;
  if (field === undefined || 'line' in place) return item;
  return `${item}.${shown(field)}`;
}

function lineParam({ line, file }: { line: number; file?: string }): string {
  return file === undefined ? `line ${line}` : `${file}: line ${line}`;
}

/** A field's name comes from outside, too: messages stay short and on one line. */
function shown(field: string): string {
  if (/^[\w., -]{1,64}$/.test(field)) return field;
  return JSON.stringify(field.length > 64 ? `${field.slice(0, 64)}…` : field);
}
