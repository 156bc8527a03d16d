export interface LocatedToken {
  id: number;
  text: string;
  special: boolean;
  start: number | null;
  stop: number | null;
}

/**
 * How far beyond the last place, white space not counted, a token may begin: for each character of the tokens since
 * that had no place. The same characters also stand further on in a long text, where the token is not.
 */
const REACH = 4;

/**
 * Tokens with their place in the text, in UTF-16 units. A tokenizer that rewrites text (normalisation, a space marked
 * by another sign) may make a token that is not found where it should be: such a one has no place.
 */
export function locate(
  text: string,
  { ids, tokens }: { ids: Int32Array; tokens: readonly string[] },
  bareIds: Int32Array,
): LocatedToken[] {
  const before = offsetOf(ids, bareIds);
  let at = 0;
  let unplaced = 0;
  return [...ids].map((id, index) => {
    const special = index < before || index >= before + bareIds.length;
    const token = tokens[index] ?? '';
    if (special || token === '') return { id, text: token, special, start: null, stop: null };
    const from = token.trimStart() === token ? afterSpace(text, at) : at;
    const offset = text.slice(from, from + REACH * (unplaced + 1) + token.length).indexOf(token);
    if (offset === -1) {
      unplaced += token.length;
      return { id, text: token, special, start: null, stop: null };
    }
    const start = from + offset;
    at = start + token.length;
    unplaced = 0;
    return { id, text: token, special, start, stop: at };
  });
}

function afterSpace(text: string, at: number): number {
  const space = /\s*/y;
  space.lastIndex = at;
  space.exec(text);
  return space.lastIndex;
}

/** Where the text's own tokens begin among those that frame it. */
function offsetOf(ids: Int32Array, bareIds: Int32Array): number {
  for (let offset = 0; offset + bareIds.length <= ids.length; offset++)
    if (bareIds.every((id, index) => ids[offset + index] === id)) return offset;
  return 0;
}
