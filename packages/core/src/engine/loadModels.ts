/** All models of one worker. */
import type { Config } from '../config.ts';
import { toTrivecError } from '../errors.ts';
import { describeModel } from '../models/describe.ts';
import type { ModelDescription } from '../models/folder.ts';
import type { FailedModel } from '../registry/workerRegistry.ts';
import { Resources } from '../shutdown.ts';
import type { Logger } from '../telemetry/logger.ts';
import { createEngine, type EngineOptions } from './engine.ts';
import { JoinedEngine } from './joinedEngine.ts';
import { ModelPool } from './modelPool.ts';
import { PooledEngine } from './pooledEngine.ts';
import type { Engine } from './types.ts';

export interface LoadedModels {
  /** One a model and device. */
  engines: readonly Engine[];
  /** Those that could not be had; the others run all the same. */
  failed: readonly FailedModel[];
  close(): Promise<void>;
}

/**
 * MODEL (with DENSE_MODEL) and MODELS, each on every device of DEVICE. With MODELS_MEMORY_BYTES they are loaded on first use within that
 * bound, the default first. Where MODEL stands alone, what it throws is thrown: `invalid_model`, `invalid_config`,
 * `download_failed`, `storage_full`, `device_unavailable`. One of several that fails is reported, unless all do.
 */
export async function loadModels(
  config: Config,
  logger: Logger,
  options: Pick<EngineOptions, 'onUnavailable'> = {},
): Promise<LoadedModels> {
  const names = [...new Set([config.model, ...config.models])];
  const devices = config.device.split(',');
  const resources = new Resources();
  const engines: Engine[] = [];
  const failed: FailedModel[] = [];
  const pool = poolOf(config, logger, options);
  const pooled: PooledEngine[] = [];
  let firstError: unknown;
  const open = async (model: ModelDescription, device: string): Promise<Engine> => {
    const own = { ...config, device };
    if (pool === undefined) return createEngine({ model, config: own, logger, ...options });
    const engine = new PooledEngine(pool, model, own);
    pooled.push(engine);
    return engine;
  };
  for (const name of names) {
    try {
      const model = await describeModel(name, config, logger);
      const dense =
        config.denseModel === undefined || name !== config.model
          ? undefined
          : await describeModel(config.denseModel, config, logger);
      for (const device of devices) engines.push(resources.add(await openJoined(model, dense, device, open)));
    } catch (error) {
      firstError ??= error;
      const { code, message } = toTrivecError(error);
      failed.push({ name, code, message });
      if (names.length > 1) logger.error({ model: name, code, message }, 'model cannot be loaded');
    }
  }
  if (pool !== undefined) resources.add(pool);
  if (engines.length === 0) throw firstError;
  const [first] = pooled;
  await first?.warmUp();
  return { engines, failed, close: () => resources.close() };
}

async function openJoined(
  model: ModelDescription,
  dense: ModelDescription | undefined,
  device: string,
  open: (model: ModelDescription, device: string) => Promise<Engine>,
): Promise<Engine> {
  const engine = await open(model, device);
  if (dense === undefined) return engine;
  const parts = [engine];
  try {
    parts.push(await open(dense, device));
    return new JoinedEngine(engine, parts[1]!);
  } catch (error) {
    await Promise.all(parts.map((part) => part.close()));
    throw error;
  }
}

function poolOf(
  config: Config,
  logger: Logger,
  options: Pick<EngineOptions, 'onUnavailable'>,
): ModelPool | undefined {
  if (config.modelsMemoryBytes === 0) return undefined;
  return new ModelPool(config.modelsMemoryBytes, (model: ModelDescription, device) =>
    createEngine({ model, config: { ...config, device }, logger, ...options }),
  );
}
