import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { TrivecError } from '../errors.ts';
import type { ModelDescription } from '../models/folder.ts';
import type { ModelInfo } from '../models/modelInfo.ts';
import { loadTokenizer, type Tokenizer } from '../models/tokenizer.ts';
import { type Calibration, calibrate, measureDims, measureOne } from './calibrate.ts';
import { CalibrationCache } from './calibrationCache.ts';
import { type BatchCost, predictMs } from './costModel.ts';
import { countCores } from './cpuCount.ts';
import { type Device, DeviceError } from './device.ts';
import { InferenceSession } from './inferenceSession.ts';
import { LOGIT, ModelEngine, wantsOf } from './modelEngine.ts';
import { sessionOptions } from './sessionOptions.ts';
import type { Engine } from './types.ts';

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
      cost: shortened(cost),
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
    session: JSON.stringify(
      sessionOptions({
        provider: { device: device.name, name: device.name.split(':', 1)[0]! },
        intraOpThreads: intraOpThreads || countCores(),
        spinWhenIdle: intraOpSpinning,
      }),
    ),
    onnxruntime: version,
    processor: cpus()[0]?.model ?? '',
    maxBulkBatchMs,
  });
}

/** As many digits as a person wants to read in a log. */
function shortened(cost: BatchCost): BatchCost {
  const short = (value: number) => Number(value.toPrecision(3));
  return {
    fixedMs: short(cost.fixedMs),
    msPerToken: short(cost.msPerToken),
    msPerPair: short(cost.msPerPair),
  };
}
