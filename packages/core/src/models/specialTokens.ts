/** The special token ids of a tokenizer.json. Pure. */

export interface SpecialTokens {
  /** CLS, EOS, padding and unknown: they carry no lexical weight. */
  ignoredSparseIds: number[];
  padId: number | undefined;
  /** Largest id the tokenizer can give, plus one. */
  vocabularySize: number;
}

type Json = Readonly<Record<string, unknown>>;

/** Where tokenizer_config.json says nothing, these are what such tokens are called. */
const USUAL_NAMES = {
  cls_token: ['<s>', '[CLS]'],
  eos_token: ['</s>'],
  sep_token: ['[SEP]'],
  pad_token: ['<pad>', '[PAD]'],
  unk_token: ['<unk>', '[UNK]'],
};

/** `tokenizer` is tokenizer.json, `config` tokenizer_config.json where there is one. */
export function readSpecialTokens(tokenizer: Json, config: Json | undefined): SpecialTokens {
  const ids = vocabularyOf(tokenizer);
  const idOf = (role: keyof typeof USUAL_NAMES): number | undefined => {
    const named = contentOf(config?.[role]);
    const names = named === undefined ? USUAL_NAMES[role] : [named];
    return names.map((name) => ids.get(name)).find((id) => id !== undefined);
  };
  const eosId = contentOf(config?.eos_token) === undefined ? undefined : idOf('eos_token');
  const ignored = [idOf('cls_token'), eosId ?? idOf('sep_token') ?? idOf('eos_token')];
  const padId = idOf('pad_token');
  ignored.push(padId, idOf('unk_token'));
  return {
    ignoredSparseIds: [...new Set(ignored.filter((id) => id !== undefined))].sort((a, b) => a - b),
    padId,
    vocabularySize: [...ids.values()].reduce((most, id) => Math.max(most, id + 1), 0),
  };
}

/** The id of each token; `undefined` where the vocabulary lacks it. */
export function tokenIds(tokenizer: Json, tokens: readonly string[]): (number | undefined)[] {
  const ids = vocabularyOf(tokenizer);
  return tokens.map((token) => ids.get(token));
}

/** A token is a string or `{content}`. */
function contentOf(token: unknown): string | undefined {
  if (typeof token === 'string') return token;
  const content = (token as { content?: unknown } | null | undefined)?.content;
  return typeof content === 'string' ? content : undefined;
}

function vocabularyOf(tokenizer: Json): Map<string, number> {
  const vocabulary = (tokenizer.model as Json | undefined)?.vocab;
  const ids = new Map<string, number>();
  if (Array.isArray(vocabulary))
    for (const [id, entry] of vocabulary.entries()) ids.set(String(entry?.[0]), id);
  else if (typeof vocabulary === 'object' && vocabulary !== null)
    for (const [token, id] of Object.entries(vocabulary)) if (typeof id === 'number') ids.set(token, id);
  const added = tokenizer.added_tokens;
  for (const token of Array.isArray(added) ? added : [])
    if (typeof token?.content === 'string' && typeof token.id === 'number') ids.set(token.content, token.id);
  return ids;
}
