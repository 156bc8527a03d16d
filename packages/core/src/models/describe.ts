import type { Config } from '../config.ts';
import { requireFolder } from '../folders.ts';
import type { Logger } from '../telemetry/logger.ts';
import { describeModelFolder, type ModelDescription } from './folder.ts';
import { findCached, type HubConfig, type Progress, pullModel } from './hub.ts';
import { type LocateConfig, type LocatedModel, locateModel } from './locate.ts';
import { describeRewritten, isRewritten } from './rewritten.ts';

export type ModelConfig = HubConfig & LocateConfig & Pick<Config, 'dataDir'>;

/** Between two lines of the log about a download. */
const REPORT_MS = 5_000;

/**
 * A configured model, found, downloaded where it has to be, and described; nothing is loaded yet.
 * Throws `invalid_model`, `invalid_config`, `download_failed` or `storage_full`.
 */
export async function describeModel(
  name: string,
  config: ModelConfig,
  logger: Pick<Logger, 'info'>,
): Promise<ModelDescription> {
  if (config.modelsDir !== undefined) await requireFolder('MODELS_DIR', config.modelsDir);
  const located = await locateModel(name, config);
  const folder = located.folder ?? (await fetchFolder(located, config, logger));
  return isRewritten(config.modelDtype)
    ? describeRewritten(folder, config.modelDtype, located, config, logger)
    : describeModelFolder(folder, located);
}

async function fetchFolder(
  { hub }: LocatedModel,
  config: Config | ModelConfig,
  logger: Pick<Logger, 'info'>,
) {
  if (hub === undefined) throw new Error('A model lies in a folder or on the hub.');
  const cached = await findCached(hub, config);
  if (cached !== undefined) return cached.folder;
  if (!config.hfHubOffline)
    logger.info({ repo: hub.repo, revision: hub.revision, from: config.hfEndpoint }, 'downloading the model');
  const { folder, commit } = await pullModel(hub, config, { onProgress: reporter(logger) });
  logger.info({ repo: hub.repo, commit, folder }, 'model downloaded');
  return folder;
}

function reporter(logger: Pick<Logger, 'info'>): (progress: Progress) => void {
  let reportedAt = performance.now();
  return ({ file, bytes, totalBytes }) => {
    if (performance.now() - reportedAt < REPORT_MS) return;
    reportedAt = performance.now();
    logger.info({ file, bytes, totalBytes, percent: Math.floor((100 * bytes) / totalBytes) }, 'downloading');
  };
}
