import { openBackend } from '@trivec/core/backend/open';
import { loadModels } from '@trivec/core/engine/loadModels';
import { runProcess } from '@trivec/core/runProcess';
import { openStorage } from '@trivec/core/storage/open';
import { createMetrics } from '@trivec/core/telemetry/metrics';
import { announceStart } from './starting.ts';
import { startWorker } from './worker.ts';

/** A worker alone, on a backend that APIs and other workers share. */
await runProcess('shared', async ({ config, logger, resources, fail }) => {
  // First what is quick: loading a model takes minutes.
  const storage = resources.add(await openStorage(config));
  const backend = resources.add(await openBackend(config, logger));
  const starting = resources.add(await announceStart(backend, config));
  const models = resources.add(await loadModels(config, logger, { onUnavailable: fail }));
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
});
