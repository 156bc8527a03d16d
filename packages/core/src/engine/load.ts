import type { Config } from '../config.ts';
import { describeModel } from '../models/describe.ts';
import type { Logger } from '../telemetry/logger.ts';
import { createEngine, type EngineOptions } from './engine.ts';
import type { Engine } from './types.ts';

/**
 * The configured model, found (downloaded where it has to be), described and running.
 * Throws `invalid_model`, `invalid_config`, `download_failed`, `storage_full` or `device_unavailable`.
 */
export async function loadEngine(
  config: Config,
  logger: Logger,
  { name = config.model, ...options }: { name?: string } & Pick<EngineOptions, 'onUnavailable'> = {},
): Promise<Engine> {
  const model = await describeModel(name, config, logger);
  return createEngine({ model, config, logger, ...options });
}
