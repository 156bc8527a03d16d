/** What is asked of which kind of server. Pure. */
import { randomNumbers } from '../speed/texts.ts';

export const SURFACES = ['native', 'openai', 'tei'] as const;
export type Surface = (typeof SURFACES)[number];

export const SCENARIOS = ['embed_dense', 'embed_sparse', 'embed_colbert', 'embed_full', 'rerank'] as const;
export type Scenario = (typeof SCENARIOS)[number];

export interface Ask {
  texts: readonly string[];
  query: string;
  /** Sent where the surface names a model and one is known. */
  model?: string | undefined;
}

export interface Request {
  /** Below the server's URL. */
  path: string;
  body: Record<string, unknown>;
}

const OUTPUTS = {
  embed_dense: ['dense'],
  embed_sparse: ['sparse'],
  embed_colbert: ['colbert'],
  embed_full: ['dense', 'sparse', 'colbert'],
} as const;

/** Undefined where the surface has no such request. */
export function requestOf(
  surface: Surface,
  scenario: Scenario,
  { texts, query, model }: Ask,
): Request | undefined {
  const named = model === undefined ? {} : { model };
  switch (surface) {
    case 'native':
      if (scenario === 'rerank') return { path: '/rerank', body: { ...named, query, documents: texts } };
      return { path: '/embeddings', body: { ...named, input: texts, outputs: OUTPUTS[scenario] } };
    case 'openai':
      if (scenario === 'embed_dense') return { path: '/v1/embeddings', body: { ...named, input: texts } };
      if (scenario === 'rerank') return { path: '/v1/rerank', body: { ...named, query, documents: texts } };
      return undefined;
    case 'tei':
      if (scenario === 'embed_dense') return { path: '/embed', body: { inputs: texts, truncate: true } };
      if (scenario === 'embed_sparse')
        return { path: '/embed_sparse', body: { inputs: texts, truncate: true } };
      if (scenario === 'embed_colbert')
        return { path: '/embed_all', body: { inputs: texts, truncate: true } };
      if (scenario === 'rerank') return { path: '/rerank', body: { query, texts, truncate: true } };
      return undefined;
  }
}

/** Which surface answers `GET /info` this way; OpenAI's where nothing is known. */
export function surfaceOf(info: unknown): Surface {
  if (typeof info !== 'object' || info === null) return 'openai';
  if ('model_id' in info) return 'tei';
  return 'name' in info && info.name === 'trivec' ? 'native' : 'openai';
}

const WORDS =
  'river stone lamp garden winter bread copper sailor mountain letter window silver harvest engine valley music paper ' +
  'island morning bridge candle forest market thunder orchard ladder kitchen compass feather harbour meadow printer';

/** Texts of so many words, none like another, so that no cache answers for the model. */
export function makeTexts(words: number, seed: number): (count: number) => string[] {
  const list = WORDS.split(' ');
  const random = randomNumbers(seed);
  return (count) =>
    Array.from({ length: count }, () =>
      Array.from({ length: words }, () => list[Math.floor(random() * list.length)]).join(' '),
    );
}
