/** What a model wants written before a text. Pure. */
import { TrivecError } from '../errors.ts';
import type { ModelInfo } from './modelInfo.ts';

export type Prompted = Pick<ModelInfo, 'prompts' | 'defaultPromptName'>;

/** The names under which publishers keep the prompt of each kind of text, best first. */
const NAMES = { query: ['query'], document: ['document', 'passage'] } as const;

/** The prompt for a kind of text, else the model's default; undefined where it wants none. */
export function promptForInput(
  { prompts = {}, defaultPromptName }: Prompted,
  inputType: 'query' | 'document' | undefined,
): string | undefined {
  const names = inputType === undefined ? [] : NAMES[inputType];
  return [...names, ...(defaultPromptName === undefined ? [] : [defaultPromptName])]
    .filter((name) => Object.hasOwn(prompts, name))
    .map((name) => prompts[name])
    .at(0);
}

/** `prompts` and `default_prompt_name` of sentence-transformers' config. Throws `invalid_model` for other than texts by name. */
export function readPrompts(config: Readonly<Record<string, unknown>> | undefined): Prompted {
  const { prompts = {}, default_prompt_name: name } = config ?? {};
  if (!isTexts(prompts)) throw refuse('prompts must be an object of texts by their names');
  if (name !== undefined && name !== null && (typeof name !== 'string' || !Object.hasOwn(prompts, name)))
    throw refuse('default_prompt_name is not the name of one of its prompts');
  return {
    ...(Object.keys(prompts).length > 0 && { prompts }),
    ...(typeof name === 'string' && { defaultPromptName: name }),
  };
}

function isTexts(value: unknown): value is Record<string, string> {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((text) => typeof text === 'string')
  );
}

function refuse(why: string): TrivecError {
  return new TrivecError('invalid_model', `config_sentence_transformers.json: ${why}.`);
}
