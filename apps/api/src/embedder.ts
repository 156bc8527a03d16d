import type { Config } from '@trivec/core/config';
import type { EmbedTask } from '@trivec/core/engine/tasks';
import { TrivecError } from '@trivec/core/errors';
import { isBlank } from '@trivec/core/jobs/textRules';
import type { ModelInfo } from '@trivec/core/models/modelInfo';
import { promptForInput } from '@trivec/core/models/prompts';
import type { Metrics } from '@trivec/core/telemetry/metrics';
import type { Output, TextVectors } from '@trivec/core/vectors/types';
import { OUTPUTS } from '@trivec/core/vectors/types';
import type { EmbeddingCache } from './embeddingCache.ts';
import { type Caller, checkText, type EngineCalls } from './engineCalls.ts';
import { TextRunner } from './textRunner.ts';
import type { Timings } from './timings.ts';

/** A text, or the ids that the model's own tokenizer made of it. */
export type TextInput = string | readonly number[];

export interface EmbedRequest {
  texts: readonly TextInput[];
  outputs: readonly string[];
  dimensions?: number | undefined;
  normalize?: boolean | undefined;
  truncate?: boolean | undefined;
  truncationDirection?: 'right' | 'left' | undefined;
  returnTokenIds?: boolean | undefined;
  /** Written before every text. */
  prompt?: string | undefined;
  /** True: a text that cannot be embedded is in `failures`, and the others are answered. */
  partial?: boolean | undefined;
  /** True: also white space is embedded, as the clients of some surfaces expect it. */
  acceptBlank?: boolean | undefined;
  client: string;
  timeoutMs?: number | undefined;
  /** How errors call text `i`; `input[i]` when absent. */
  nameOf?: (index: number) => string;
}

export interface TruncationWarning {
  code: 'input_truncated';
  index: number;
  /** The limit, special tokens included. */
  maxTokens: number;
  originalTokens: number;
}

/** A dense vector of zeros, near to nothing: the model knows no token of the text. */
export interface ZeroWarning {
  code: 'zero_vector';
  index: number;
}

export interface Embedded {
  model: ModelInfo;
  outputs: readonly Output[];
  /** One a text, in order; of 0 tokens and without a vector where the text failed. */
  vectors: TextVectors[];
  /** By position; without `partial` always empty. */
  failures: Map<number, TrivecError>;
  /** Tokens that the model saw, of all texts. */
  tokens: number;
  tokenIds: Int32Array[] | undefined;
  warnings: (TruncationWarning | ZeroWarning)[];
  timings: Timings;
}

export interface EmbedderDeps {
  calls: EngineCalls;
  cache: EmbeddingCache;
  config: Pick<Config, 'maxInputChars'>;
  metrics: Metrics;
  /** Told what a client's answer cost. */
  charge(client: string, tokens: number): void;
}

/** A text to be embedded, and where it stands in the request. */
interface Place {
  index: number;
  text: string;
}

/** Texts to vectors over the interactive lane: the one handler behind every route that embeds. */
export class Embedder {
  readonly #deps: EmbedderDeps;
  readonly #runner: TextRunner;

  constructor(deps: EmbedderDeps) {
    this.#deps = deps;
    this.#runner = new TextRunner(deps);
  }

  /**
   * Throws `empty_input`, `invalid_request`, `unknown_output`, `text_too_long`, `overloaded`, `model_unavailable`,
   * `deadline_exceeded`, `cancelled`; without `partial`, a text that the model cannot run refuses the request by its name.
   */
  async embed(model: ModelInfo, request: EmbedRequest, signal: AbortSignal): Promise<Embedded> {
    const { client, timeoutMs, partial = false } = request;
    const nameOf = request.nameOf ?? ((index: number) => `input[${index}]`);
    const caller = { client, timeoutMs, signal };
    if (request.texts.length === 0)
      throw new TrivecError('empty_input', 'input must have at least one text.', { param: 'input' });
    const template = taskTemplate(model, request);
    const failures = new Map<number, TrivecError>();
    const fail = (index: number, error: TrivecError) => {
      if (!partial) throw error;
      failures.set(index, error);
    };

    const places: Place[] = [];
    const texts = await this.#asTexts(model, request.texts, caller);
    for (const [index, own] of texts.entries()) {
      try {
        const text = own === '' ? '' : (request.prompt ?? '') + own;
        const { acceptBlank } = request;
        checkText(isBlank(own) && !acceptBlank ? own : text, nameOf(index), this.#deps.config.maxInputChars, {
          acceptBlank,
        });
        places.push({ index, text });
      } catch (error) {
        fail(index, error as TrivecError);
      }
    }

    const { outcomes, timings } = await this.#runner.run(
      model,
      template,
      places.map(({ text }) => text),
      caller,
      (place) => nameOf(places[place]?.index ?? place),
    );
    const embedded: Embedded = {
      model,
      outputs: template.outputs,
      vectors: texts.map(() => ({ tokens: 0 })),
      failures,
      tokens: 0,
      tokenIds: request.returnTokenIds === true ? texts.map(() => new Int32Array()) : undefined,
      warnings: [],
      timings,
    };
    for (const [place, { vector, originalTokens, truncated, maxTokens, tokenIds }] of outcomes.entries()) {
      const index = places[place]?.index ?? place;
      if ('error' in vector) {
        const { code, message } = vector.error;
        fail(index, new TrivecError(code, `${nameOf(index)}: ${message}`, { param: nameOf(index) }));
        continue;
      }
      if (truncated) {
        if (request.truncate === false) {
          fail(index, tooManyTokens(nameOf(index), originalTokens, maxTokens, model));
          continue;
        }
        embedded.warnings.push({ code: 'input_truncated', index, maxTokens, originalTokens });
      }
      if (vector.dense?.every((value) => value === 0) === true)
        embedded.warnings.push({ code: 'zero_vector', index });
      embedded.vectors[index] = vector;
      embedded.tokens += vector.tokens;
      if (embedded.tokenIds !== undefined && tokenIds !== undefined) embedded.tokenIds[index] = tokenIds;
    }
    this.#deps.metrics.requestTexts.inc({ model: model.name }, texts.length - failures.size);
    this.#deps.metrics.requestTokens.inc({ model: model.name }, embedded.tokens);
    this.#deps.charge(client, embedded.tokens);
    return embedded;
  }

  /** Token ids as the text that they stand for: the engine frames and cuts it like any other. */
  async #asTexts(model: ModelInfo, inputs: readonly TextInput[], caller: Caller): Promise<string[]> {
    const rows = inputs.filter((input) => typeof input !== 'string');
    if (rows.length === 0) return inputs as string[];
    const cost = rows.reduce((sum, { length }) => sum + length, 0);
    const task = { kind: 'decode' as const, ids: rows, skipSpecialTokens: true };
    const { texts } = await this.#deps.calls.ask(model.fingerprint, task, caller, cost);
    let next = 0;
    return inputs.map((input) => (typeof input === 'string' ? input : (texts[next++] ?? '')));
  }
}

function taskTemplate(model: ModelInfo, request: EmbedRequest): EmbedTask {
  return {
    kind: 'embed',
    texts: [],
    outputs: checkOutputs(request.outputs, model),
    normalize: request.normalize ?? true,
    // One text must not refuse its neighbours where they are wanted all the same.
    truncate: request.partial === true || (request.truncate ?? true),
    truncationDirection: request.truncationDirection ?? 'right',
    ...(request.dimensions !== undefined && { dimensions: checkDimensions(request.dimensions, model) }),
    ...(request.returnTokenIds === true && { returnTokenIds: true }),
  };
}

function tooManyTokens(name: string, tokens: number, maxTokens: number, model: ModelInfo): TrivecError {
  return new TrivecError(
    'text_too_long',
    `${name} has ${tokens} tokens; ${model.name} reads at most ${maxTokens}. Shorten it, or allow "truncate": true.`,
    { param: name },
  );
}

/** Each output once, in the order asked for. `unknown_output` for one that there is not, or that the model lacks. */
function checkOutputs(asked: readonly string[], model: ModelInfo): Output[] {
  if (model.kind === 'reranker') {
    throw new TrivecError(
      'invalid_request',
      `${model.name} is a reranker: it scores pairs and has no vectors.`,
      {
        param: 'model',
      },
    );
  }
  return [...new Set(asked)].map((name) => {
    const output = OUTPUTS.find((known) => known === name);
    if (output !== undefined && model.outputs.includes(output)) return output;
    const why = output === undefined ? 'is not an output' : `is not an output of the model ${model.name}`;
    throw new TrivecError(
      'unknown_output',
      `${JSON.stringify(name)} ${why}; there is ${model.outputs.join(', ')}.`,
      { param: 'outputs' },
    );
  });
}

function checkDimensions(dimensions: number, model: ModelInfo): number {
  if (dimensions <= model.denseDims) return dimensions;
  throw new TrivecError(
    'invalid_request',
    `dimensions is ${dimensions}; the dense vector of ${model.name} has ${model.denseDims}.`,
    { param: 'dimensions' },
  );
}

export interface PromptChoice {
  prompt?: string | undefined;
  promptName?: string | undefined;
  inputType?: 'query' | 'document' | undefined;
}

/**
 * What stands before every text: the prompt itself; that of the model by name; or the one that the model wants before
 * this type of input, if it wants any. `invalid_request` where two are given, or the name is not one of the model's.
 */
export function promptOf(
  { prompt, promptName, inputType }: PromptChoice,
  model: ModelInfo,
): string | undefined {
  const given = Object.entries({ prompt, promptName, inputType }).filter(([, value]) => value !== undefined);
  if (given.length > 1) {
    throw new TrivecError('invalid_request', `Give one of ${given.map(([name]) => name).join(', ')}.`, {
      param: given[1]?.[0] ?? 'prompt',
    });
  }
  if (prompt !== undefined) return prompt;
  if (promptName === undefined) return promptForInput(model, inputType);
  const known = Object.entries(model.prompts ?? {});
  const found = known.find(([name]) => name === promptName)?.[1];
  if (found !== undefined) return found;
  const list = known.length === 0 ? 'it has none' : `it has ${known.map(([name]) => name).join(', ')}`;
  throw new TrivecError(
    'invalid_request',
    `${model.name} has no prompt ${JSON.stringify(promptName)}; ${list}.`,
    { param: 'promptName' },
  );
}
