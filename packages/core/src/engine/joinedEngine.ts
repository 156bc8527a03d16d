import { createHash } from 'node:crypto';
import { TrivecError } from '../errors.ts';
import type { ModelInfo } from '../models/modelInfo.ts';
import { OUTPUTS, type TextVectors } from '../vectors/types.ts';
import type { EmbedOptions, EmbedResult, EncodedText, EncodeOptions, Engine, ScoreResult } from './types.ts';

/** A text as both models read it; it is the other one's that engines are given. */
interface JoinedText extends EncodedText {
  forDense: EncodedText;
}

/**
 * Dense vectors of one model with the sparse and ColBERT vectors of another, as if one model gave all three. The two run
 * one after the other. Tokens, their counts and their ids are those of the model that gives the sparse vectors. A prompt
 * of the dense model reaches that model only: its words would count in the sparse vector.
 */
export class JoinedEngine implements Engine {
  readonly model: ModelInfo;
  readonly #lexical: Engine;
  readonly #dense: Engine;
  readonly #prompts: readonly string[];

  /** Throws `invalid_config` where the one gives no dense, or the other neither sparse nor ColBERT vectors. */
  constructor(lexical: Engine, dense: Engine) {
    this.model = joinModels(lexical.model, dense.model);
    this.#lexical = lexical;
    this.#dense = dense;
    this.#prompts = Object.values(dense.model.prompts ?? {})
      .filter((prompt) => prompt !== '')
      .sort((a, b) => b.length - a.length);
  }

  get device(): string {
    return [...new Set([this.#lexical.device, this.#dense.device])].join('+');
  }

  get maxBatchTokens(): number {
    return Math.min(this.#lexical.maxBatchTokens, this.#dense.maxBatchTokens);
  }

  get maxBulkTokens(): number {
    const limits = [this.#lexical, this.#dense].flatMap(({ maxBulkTokens }) => maxBulkTokens ?? []);
    return Math.min(this.model.maxTokens, ...limits);
  }

  async encode(texts: readonly string[], options: EncodeOptions = {}): Promise<EncodedText[]> {
    const maxTokens = Math.min(options.maxTokens ?? this.model.maxTokens, this.model.maxTokens);
    const [own, forDense] = await Promise.all([
      this.#lexical.encode(
        texts.map((text) => this.#withoutPrompt(text)),
        { ...options, maxTokens },
      ),
      this.#dense.encode(texts, { ...options, maxTokens }),
    ]);
    return own.map((text, at) => joinTexts(text, forDense[at]!));
  }

  #withoutPrompt(text: string): string {
    const prompt = this.#prompts.find((candidate) => text.startsWith(candidate));
    return prompt === undefined ? text : text.slice(prompt.length);
  }

  decode(ids: readonly number[][], options?: { skipSpecialTokens?: boolean }): Promise<string[]> {
    return this.#lexical.decode(ids, options);
  }

  async embed(texts: readonly EncodedText[], options: EmbedOptions): Promise<EmbedResult> {
    const { outputs, dimensions, ...rest } = options;
    const lexicalOutputs = outputs.filter((output) => output !== 'dense');
    const joined = texts as readonly JoinedText[];
    const results: EmbedResult[] = [];
    if (lexicalOutputs.length > 0)
      results.push(await this.#lexical.embed(joined, { ...rest, outputs: lexicalOutputs }));
    if (outputs.includes('dense'))
      results.push(
        await this.#dense.embed(
          joined.map(({ forDense }) => forDense),
          { ...rest, outputs: ['dense'], ...(dimensions !== undefined && { dimensions }) },
        ),
      );
    return {
      vectors: joined.map(({ ids }, at) =>
        joinVectors(
          results.map(({ vectors }) => vectors[at]!),
          ids.length,
        ),
      ),
      inferMs: results.reduce((sum, { inferMs }) => sum + inferMs, 0),
    };
  }

  async encodePairs(): Promise<EncodedText[]> {
    throw this.#noReranker();
  }

  async score(): Promise<ScoreResult> {
    throw this.#noReranker();
  }

  #noReranker(): TrivecError {
    return new TrivecError('invalid_request', `The model ${this.model.name} is not a reranker.`, {
      param: 'model',
    });
  }

  /** Of both after each other. */
  tokensPerSecond(): number {
    const rates = [this.#lexical, this.#dense].map((engine) => engine.tokensPerSecond());
    const seconds = rates.filter((rate) => rate > 0).reduce((sum, rate) => sum + 1 / rate, 0);
    return seconds === 0 ? 0 : 1 / seconds;
  }

  async close(): Promise<void> {
    await Promise.all([this.#lexical.close(), this.#dense.close()]);
  }
}

function joinModels(lexical: ModelInfo, dense: ModelInfo): ModelInfo {
  if (!dense.outputs.includes('dense'))
    throw refuse(`${dense.name} gives no dense vectors, so it cannot be the DENSE_MODEL.`);
  if (!lexical.outputs.some((output) => output !== 'dense'))
    throw refuse(
      `${lexical.name} gives neither sparse nor ColBERT vectors; with DENSE_MODEL, MODEL must (BGE-M3 does).`,
    );
  const { prompts: _unused, defaultPromptName: _neither, ...rest } = lexical;
  return {
    ...rest,
    name: `${lexical.name}+${dense.name}`,
    aliases: [lexical.name, ...(lexical.aliases ?? [])],
    fingerprint: createHash('sha256')
      .update(`${lexical.fingerprint}+${dense.fingerprint}`)
      .digest('hex')
      .slice(0, 32),
    dtype: [...new Set([lexical.dtype, dense.dtype])].join('+'),
    ...((lexical.batchDependent || dense.batchDependent) && { batchDependent: true }),
    outputs: OUTPUTS.filter((output) => output === 'dense' || lexical.outputs.includes(output)),
    denseDims: dense.denseDims,
    maxTokens: Math.min(lexical.maxTokens, dense.maxTokens),
    standIn: lexical.standIn || dense.standIn,
    description: `Dense vectors of ${dense.name}, the others of ${lexical.name}.`,
    license: [...new Set([lexical.license, dense.license])].join(' and '),
    ...(dense.prompts && { prompts: dense.prompts }),
    ...(dense.defaultPromptName !== undefined && { defaultPromptName: dense.defaultPromptName }),
  };
}

function refuse(message: string): TrivecError {
  return new TrivecError('invalid_config', message, { param: 'DENSE_MODEL' });
}

/** Cut where either had to cut it: `originalTokens` says so. */
function joinTexts(text: EncodedText, forDense: EncodedText): JoinedText {
  const isCut = forDense.originalTokens > forDense.ids.length;
  const originalTokens = isCut ? Math.max(text.originalTokens, forDense.originalTokens) : text.originalTokens;
  return { ...text, originalTokens, forDense };
}

function joinVectors(
  parts: readonly (TextVectors | TrivecError)[],
  tokens: number,
): TextVectors | TrivecError {
  const failed = parts.find((part) => part instanceof TrivecError);
  return failed ?? Object.assign({}, ...parts, { tokens });
}
