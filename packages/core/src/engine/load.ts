import type { Config } from '../config.ts';
import { describeModelFolder } from '../models/folder.ts';
import { locateModel } from '../models/locate.ts';
import type { Logger } from '../telemetry/logger.ts';
import { createEngine } from './engine.ts';
import type { Engine } from './types.ts';

/** The configured model, found, described and running. Throws `invalid_model` or `device_unavailable`. */
export async function loadEngine(config: Config, logger: Logger): Promise<Engine> {
  const { folder, name } = await locateModel(config.model, config);
  const model = await describeModelFolder(folder, name);
  return createEngine({ model, config, logger });
}
