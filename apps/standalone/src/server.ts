import { checkApiConfig } from '@trivec/api/checkApiConfig';
import { startApi } from '@trivec/api/start';
import { announceUrl } from '@trivec/core/backend/dataDirLock';
import { openBackend } from '@trivec/core/backend/open';
import type { Config } from '@trivec/core/config';
import type { EngineOptions } from '@trivec/core/engine/engine';
import { loadModels } from '@trivec/core/engine/loadModels';
import { Resources } from '@trivec/core/shutdown';
import { openStorage } from '@trivec/core/storage/open';
import { createMetrics } from '@trivec/core/telemetry/metrics';
import { announceStart } from '@trivec/worker/starting';
import { startWorker } from '@trivec/worker/worker';
import type { Logger } from 'pino';

export interface RunningServer {
  url: string;
  /** API first, so that requests in flight are still answered; then worker, storage and backend. Idempotent. */
  close(): Promise<void>;
}

/** API and worker in one process. Resolves when the model is loaded and the first request can be answered. */
export async function startStandalone(
  config: Config,
  logger: Logger,
  options: Pick<EngineOptions, 'onUnavailable'> = {},
): Promise<RunningServer> {
  await checkApiConfig(config);
  const resources = new Resources();
  try {
    const backend = resources.add(await openBackend(config, logger));
    const storage = resources.add(await openStorage(config));
    const starting = resources.add(await announceStart(backend, config));
    const models = resources.add(await loadModels(config, logger, options));
    const metrics = createMetrics({ processMetrics: true });
    resources.add(
      await startWorker({
        config,
        backend,
        storage,
        engines: models.engines,
        failedModels: models.failed,
        metrics: metrics.worker,
        logger,
      }),
    );
    await starting.close();
    const api = resources.add(await startApi({ config, backend, storage, metrics, logger }));
    if (backend.kind === 'embedded') announceUrl(config.dataDir, api.url);
    return { url: api.url, close: () => resources.close() };
  } catch (error) {
    await resources.close();
    throw error;
  }
}
