export interface LocatedToken {
  id: number;
  text: string;
  special: boolean;
  start: number | null;
  stop: number | null;
}

/**
 * Tokens with their place in the text, in UTF-16 units. A tokenizer that rewrites text (normalisation, a space marked
 * by another sign) may make a token that is not found in it: such a one has no place.
 */
export function locate(
  text: string,
  { ids, tokens }: { ids: Int32Array; tokens: readonly string[] },
  bareIds: Int32Array,
): LocatedToken[] {
  const before = offsetOf(ids, bareIds);
  let at = 0;
  return [...ids].map((id, index) => {
    const special = index < before || index >= before + bareIds.length;
    const token = tokens[index] ?? '';
    const start = special || token === '' ? -1 : text.indexOf(token, at);
    if (start === -1) return { id, text: token, special, start: null, stop: null };
    at = start + token.length;
    return { id, text: token, special, start, stop: at };
  });
}

/** Where the text's own tokens begin among those that frame it. */
function offsetOf(ids: Int32Array, bareIds: Int32Array): number {
  for (let offset = 0; offset + bareIds.length <= ids.length; offset++)
    if (bareIds.every((id, index) => ids[offset + index] === id)) return offset;
  return 0;
}
