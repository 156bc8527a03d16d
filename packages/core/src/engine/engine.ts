import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { TrivecError } from '../errors.ts';
import type { ModelDescription } from '../models/folder.ts';
import type { ModelInfo } from '../models/modelInfo.ts';
import type { PairPrompt } from '../models/pairs.ts';
import { loadTokenizer, type Tokenizer } from '../models/tokenizer.ts';
import type { Output } from '../vectors/types.ts';
import { type Calibration, calibrate, measureDims, measureOne } from './calibrate.ts';
import { CalibrationCache } from './calibrationCache.ts';
import { Call } from './call.ts';
import { predictMs } from './costModel.ts';
import { countCores } from './cpuCount.ts';
import { type Device, DeviceError, type Wants } from './device.ts';
import { InferenceSession } from './inferenceSession.ts';
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

/** Without a `dataDir` nothing that was measured is kept. */
export type EngineConfig = Pick<
  Config,
  'device' | 'intraOpThreads' | 'intraOpSpinning' | 'maxBatchTokens' | 'maxBulkBatchMs'
> &
  Partial<Pick<Config, 'dataDir' | 'maxBatchMemoryBytes' | 'maxBulkTextTokens'>>;

export interface EngineOptions {
  model: ModelDescription;
  config: EngineConfig;
  logger: Pick<Logger, 'info' | 'warn' | 'error'>;
  /** Told when the device is lost and cannot be had again; from then on every call fails with `model_unavailable`. */
  onUnavailable?: (error: TrivecError) => void;
}

const WARM_UP_TOKENS = 64;
/** Longest shape that is timed. */
const TIMED_TOKENS = 1024;

/** A reranker's logit travels as a dense vector of one number. */
const LOGIT: Wants = { dense: true, sparse: false, colbert: false, dimensions: 1, normalize: false };

/**
 * Loads the model in a thread of its own, runs it once and sizes its batches.
 * Throws `device_unavailable` or `invalid_model`.
 */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const { model, config, logger } = options;
  const tokenizer = await loadTokenizer(model.tokenizerFile);
  const device = await InferenceSession.open(model, {
    device: config.device,
    intraOpThreads: config.intraOpThreads === 0 ? countCores() : config.intraOpThreads,
    allowSpinning: config.intraOpSpinning,
    logger,
  });
  try {
    return await startOn(device, tokenizer, options);
  } catch (error) {
    await device.close();
    throw error instanceof DeviceError ? cannotRun(model.info.name, error) : error;
  }
}

function cannotRun(name: string, error: DeviceError): TrivecError {
  return new TrivecError('invalid_model', `${name} fails on a first text: ${error.message}`, {
    cause: error,
  });
}

/** The same on a device that is there already: what tests and benches use to run without a model. */
export async function startOn(
  device: Device,
  tokenizer: Tokenizer,
  { model, config, logger, onUnavailable }: EngineOptions,
): Promise<Engine> {
  const isReranker = model.info.kind === 'reranker';
  const everything = isReranker ? LOGIT : wantsOf(model.info, { outputs: model.info.outputs, lane: 'bulk' });
  const [text] = await tokenizer.encode(['warm up '.repeat(TIMED_TOKENS)], {
    maxTokens: Math.min(TIMED_TOKENS, model.info.maxTokens),
  });
  const probe = text!.ids.subarray(0, WARM_UP_TOKENS);
  // Asked for more than there is, the device gives what there is: so the size is measured.
  const dims = await measureDims(device, probe, { ...everything, dimensions: 0 });
  if (isReranker && dims.denseDims !== 1)
    throw new TrivecError(
      'invalid_model',
      `The reranker gives ${dims.denseDims} logits a pair; one is expected.`,
    );
  const info: ModelInfo = isReranker ? model.info : { ...model.info, ...dims };
  const wants = isReranker ? LOGIT : wantsOf(info, { outputs: info.outputs, lane: 'bulk' });
  const calibration: Calibration =
    config.maxBatchTokens === 0
      ? await calibrate({
          device,
          text: text!.ids,
          wants,
          maxTokens: info.maxTokens,
          maxBulkBatchMs: config.maxBulkBatchMs,
          maxBatchMemoryBytes: config.maxBatchMemoryBytes ?? 0,
          cache: cacheFor(info, device, config),
        })
      : {
          maxBatchTokens: config.maxBatchTokens,
          from: 'configured',
          cost: await measureOne(device, probe, wants),
        };
  const { cost, memory, maxBatchTokens, from } = calibration;
  const maxBulkTokens = Math.min(config.maxBulkTextTokens || info.maxTokens, info.maxTokens);
  logger.info(
    {
      model: info.name,
      fingerprint: info.fingerprint,
      device: device.name,
      tokenizer: tokenizer.kind,
      maxBatchTokens,
      budgetFrom: from,
      cost,
      ...(memory && {
        bytesPerToken: Math.round(memory.model.bytesPerToken),
        maxBatchBytes: Math.round(memory.maxBytes),
      }),
      warmUpTokensPerSecond: Math.round(
        (probe.length / predictMs(cost, { count: 1, length: probe.length })) * 1000,
      ),
      longestTextMs: Math.round(predictMs(cost, { count: 1, length: info.maxTokens })),
      longestBulkTextMs: Math.round(predictMs(cost, { count: 1, length: maxBulkTokens })),
    },
    'model ready',
  );
  return new ModelEngine(device, tokenizer, info, {
    maxBatchTokens,
    probe,
    // A budget that was given is taken at its word.
    ...(from !== 'configured' && { time: { cost, maxMs: config.maxBulkBatchMs }, memory }),
    calibration,
    maxBulkTokens,
    pairPrompt: model.pairPrompt,
    ...(onUnavailable && { onUnavailable }),
  });
}

function cacheFor(
  info: ModelInfo,
  device: Device,
  { dataDir, intraOpThreads, intraOpSpinning, maxBulkBatchMs }: EngineConfig,
): CalibrationCache | undefined {
  if (dataDir === undefined) return undefined;
  const { version } = createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string };
  return new CalibrationCache(dataDir, {
    fingerprint: info.fingerprint,
    device: device.name,
    intraOpThreads: intraOpThreads || countCores(),
    intraOpSpinning,
    onnxruntime: version,
    processor: cpus()[0]?.model ?? '',
    maxBulkBatchMs,
  });
}

function wantsOf(info: ModelInfo, options: EmbedOptions): Wants {
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

class ModelEngine implements Engine {
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
