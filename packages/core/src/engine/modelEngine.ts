import { TrivecError } from '../errors.ts';
import type { ModelInfo } from '../models/modelInfo.ts';
import type { PairPrompt } from '../models/pairs.ts';
import type { Tokenizer } from '../models/tokenizer.ts';
import type { Output } from '../vectors/types.ts';
import type { Calibration } from './calibrate.ts';
import { Call } from './call.ts';
import type { Device, Wants } from './device.ts';
import { Scheduler, type SchedulerOptions } from './scheduler.ts';
import type {
  EmbedOptions,
  EmbedResult,
  EncodedText,
  EncodeOptions,
  EncodePairOptions,
  Engine,
  ScoreOptions,
  ScoreResult,
  TextPair,
} from './types.ts';

/** A reranker's logit travels as a dense vector of one number. */
export const LOGIT: Wants = { dense: true, sparse: false, colbert: false, dimensions: 1, normalize: false };

/** What the device is to give. Throws `unknown_output`, and `invalid_request` for dimensions that there are not. */
export function wantsOf(info: ModelInfo, options: EmbedOptions): Wants {
  const { outputs, dimensions = info.denseDims, normalize = true } = options;
  for (const output of outputs)
    if (!info.outputs.includes(output))
      throw new TrivecError(
        'unknown_output',
        `The model ${info.name} has no ${output} output; it has ${info.outputs.join(', ')}.`,
        { param: 'outputs' },
      );
  if (
    dimensions !== info.denseDims &&
    (!Number.isInteger(dimensions) || dimensions < 1 || dimensions > info.denseDims)
  )
    throw new TrivecError(
      'invalid_request',
      `dimensions must be an integer from 1 to ${info.denseDims}, the size of this model's vectors.`,
      { param: 'dimensions' },
    );
  const has = (output: Output): boolean => outputs.includes(output);
  return { dense: has('dense'), sparse: has('sparse'), colbert: has('colbert'), dimensions, normalize };
}

interface ModelEngineOptions extends SchedulerOptions {
  calibration: Calibration;
  maxBulkTokens: number;
  pairPrompt: PairPrompt | undefined;
}

/** A tokenizer and the scheduler of a device, as one. */
export class ModelEngine implements Engine {
  readonly model: ModelInfo;
  readonly calibration: Calibration;
  readonly maxBulkTokens: number;
  readonly #device: Device;
  readonly #tokenizer: Tokenizer;
  readonly #scheduler: Scheduler;
  readonly #pairPrompt: PairPrompt | undefined;
  #closing: Promise<void> | undefined;

  constructor(device: Device, tokenizer: Tokenizer, model: ModelInfo, options: ModelEngineOptions) {
    this.model = model;
    this.calibration = options.calibration;
    this.maxBulkTokens = options.maxBulkTokens;
    this.#pairPrompt = options.pairPrompt;
    this.#device = device;
    this.#tokenizer = tokenizer;
    this.#scheduler = new Scheduler(device, options);
  }

  get device(): string {
    return this.#device.name;
  }

  get maxBatchTokens(): number {
    return this.#scheduler.maxBatchTokens;
  }

  encode(texts: readonly string[], options: EncodeOptions = {}): Promise<EncodedText[]> {
    const limit = options.lane === 'bulk' ? this.maxBulkTokens : this.model.maxTokens;
    const maxTokens = Math.min(options.maxTokens ?? limit, limit);
    return this.#tokenizer.encode(texts, { ...options, maxTokens });
  }

  decode(ids: readonly number[][], options?: { skipSpecialTokens?: boolean }): Promise<string[]> {
    return this.#tokenizer.decode(ids, options);
  }

  async encodePairs(pairs: readonly TextPair[], options: EncodePairOptions = {}): Promise<EncodedText[]> {
    if (this.model.kind !== 'reranker')
      throw new TrivecError('invalid_request', `The model ${this.model.name} is not a reranker.`, {
        param: 'model',
      });
    const maxTokens = Math.min(options.maxTokens ?? this.model.maxTokens, this.model.maxTokens);
    return this.#tokenizer.encodePairs(pairs, { ...options, maxTokens, prompt: this.#pairPrompt });
  }

  async embed(texts: readonly EncodedText[], options: EmbedOptions): Promise<EmbedResult> {
    return this.#run(texts, { ...options, wants: wantsOf(this.model, options) });
  }

  async score(pairs: readonly EncodedText[], options: ScoreOptions): Promise<ScoreResult> {
    if (this.model.kind !== 'reranker')
      throw new TrivecError('invalid_request', `The model ${this.model.name} is not a reranker.`, {
        param: 'model',
      });
    const { vectors, inferMs } = await this.#run(pairs, { ...options, wants: LOGIT });
    return {
      scores: vectors.map((outcome) => (outcome instanceof TrivecError ? outcome : outcome.dense![0]!)),
      inferMs,
    };
  }

  async #run(
    texts: readonly EncodedText[],
    options: ScoreOptions & { wants: Wants; onBatch?: EmbedOptions['onBatch'] },
  ): Promise<EmbedResult> {
    const { signal } = options;
    const call = new Call(texts.length, {
      lane: options.lane,
      wants: options.wants,
      deadlineAtMs: options.deadlineAtMs,
      onBatch: options.onBatch,
      secondFrom: texts.map(({ secondFrom = 0 }) => secondFrom),
    });
    const runnable: number[] = [];
    for (const [index, { ids }] of texts.entries()) {
      const refusal = this.#refusalOf(ids.length);
      if (refusal === undefined) runnable.push(index);
      else call.settle(index, refusal);
    }
    const withdraw = (): void =>
      this.#scheduler.withdraw(
        call,
        new TrivecError('cancelled', 'The caller left before the texts had run.'),
      );
    if (signal?.aborted) withdraw();
    signal?.addEventListener('abort', withdraw, { once: true });
    if (!call.ended)
      this.#scheduler.submit(
        call,
        runnable.map((index) => texts[index]!.ids),
        runnable,
      );
    try {
      return await call.result;
    } finally {
      signal?.removeEventListener('abort', withdraw);
    }
  }

  #refusalOf(tokens: number): TrivecError | undefined {
    const { maxTokens } = this.model;
    if (tokens === 0) return new TrivecError('model_failed', 'A text without any token cannot be run.');
    if (tokens <= maxTokens) return undefined;
    return new TrivecError('text_too_long', `A text of ${tokens} tokens; this model takes ${maxTokens}.`);
  }

  tokensPerSecond(): number {
    return this.#scheduler.tokensPerSecond();
  }

  close(): Promise<void> {
    this.#closing ??= this.#scheduler.close().then(() => this.#device.close());
    return this.#closing;
  }
}
