import type { Config } from '@trivec/core/config';
import type { EmbedTask, EngineTask, ReplyTo } from '@trivec/core/engine/tasks';
import { TrivecError } from '@trivec/core/errors';
import type { ModelInfo } from '@trivec/core/models/modelInfo';
import type { InteractiveLane } from '@trivec/core/replies/interactiveLane';
import type { Metrics } from '@trivec/core/telemetry/metrics';
import type { Output, TextVectors } from '@trivec/core/vectors/types';
import { OUTPUTS } from '@trivec/core/vectors/types';

export interface EmbedRequest {
  texts: readonly string[];
  outputs: readonly string[];
  dimensions?: number | undefined;
  normalize?: boolean | undefined;
  truncate?: boolean | undefined;
  truncationDirection?: 'right' | 'left' | undefined;
  returnTokenIds?: boolean | undefined;
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

export interface Embedded {
  model: ModelInfo;
  outputs: readonly Output[];
  /** One a text, in order. */
  vectors: TextVectors[];
  /** Tokens that the model saw, of all texts. */
  tokens: number;
  tokenIds: Int32Array[] | undefined;
  warnings: TruncationWarning[];
  timings: { queueMs: number; tokenizeMs: number; inferMs: number };
}

export interface EmbedderDeps {
  lane: Pick<InteractiveLane, 'request'>;
  config: Pick<Config, 'maxInputChars' | 'requestTimeoutMs'>;
  metrics: Metrics;
}

/** Texts to vectors over the interactive lane: the one handler behind every synchronous route. */
export class Embedder {
  readonly #deps: EmbedderDeps;

  constructor(deps: EmbedderDeps) {
    this.#deps = deps;
  }

  /**
   * Throws `empty_input`, `invalid_request`, `unknown_output`, `text_too_long`, `model_unavailable`, `deadline_exceeded`,
   * `cancelled`; a text that the model cannot run refuses the request, by its name.
   */
  async embed(model: ModelInfo, request: EmbedRequest, signal: AbortSignal): Promise<Embedded> {
    const nameOf = request.nameOf ?? ((index: number) => `input[${index}]`);
    this.#checkTexts(request.texts, nameOf);
    const outputs = checkOutputs(request.outputs, model);
    const task: EmbedTask = {
      kind: 'embed',
      texts: request.texts,
      outputs,
      normalize: request.normalize ?? true,
      truncate: request.truncate ?? true,
      truncationDirection: request.truncationDirection ?? 'right',
      ...(request.dimensions !== undefined && { dimensions: checkDimensions(request.dimensions, model) }),
      ...(request.returnTokenIds === true && { returnTokenIds: true }),
    };
    const reply = await this.ask(model.fingerprint, task, signal);
    const vectors = reply.vectors.map((vector, index) => {
      if (!('error' in vector)) return vector;
      const { code, message } = vector.error;
      throw new TrivecError(code, `${nameOf(index)}: ${message}`, { param: nameOf(index) });
    });
    const tokens = vectors.reduce((sum, vector) => sum + vector.tokens, 0);
    this.#deps.metrics.requestTexts.inc({ model: model.name }, vectors.length);
    this.#deps.metrics.requestTokens.inc({ model: model.name }, tokens);
    return {
      model,
      outputs,
      vectors,
      tokens,
      tokenIds: reply.tokenIds,
      warnings: reply.truncated.flatMap((truncated, index) =>
        truncated
          ? [
              {
                code: 'input_truncated' as const,
                index,
                maxTokens: reply.maxTokens,
                originalTokens: reply.originalTokens[index] ?? 0,
              },
            ]
          : [],
      ),
      timings: reply.timings,
    };
  }

  /** Any task, within the time that a request has. */
  ask<Task extends EngineTask>(fingerprint: string, task: Task, signal: AbortSignal): Promise<ReplyTo<Task>> {
    return this.#deps.lane.request<Task, ReplyTo<Task>>(fingerprint, task, {
      deadlineAtMs: Date.now() + this.#deps.config.requestTimeoutMs,
      signal,
    });
  }

  #checkTexts(texts: readonly string[], nameOf: (index: number) => string): void {
    const { maxInputChars } = this.#deps.config;
    if (texts.length === 0) {
      throw new TrivecError('empty_input', 'input must have at least one text.', { param: 'input' });
    }
    texts.forEach((text, index) => {
      const param = nameOf(index);
      if (text === '') throw new TrivecError('empty_input', `${param} is an empty text.`, { param });
      if (text.length <= maxInputChars) return;
      throw new TrivecError(
        'text_too_long',
        `${param} has ${text.length} characters (UTF-16 units); a request takes at most ${maxInputChars} a text.`,
        { param },
      );
    });
  }
}

/** Each output once, in the order asked for. `unknown_output` for one that there is not, or that the model lacks. */
export function checkOutputs(asked: readonly string[], model: ModelInfo): Output[] {
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
