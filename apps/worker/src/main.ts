import { openBackend } from '@trivec/core/backend/open';
import { loadEngine } from '@trivec/core/engine/load';
import { runProcess } from '@trivec/core/runProcess';
import { openStorage } from '@trivec/core/storage/open';
import { createMetrics } from '@trivec/core/telemetry/metrics';
import { startWorker } from './worker.ts';

/** A worker alone, on a backend that APIs and other workers share. */
await runProcess('shared', async ({ config, logger, resources }) => {
  const engine = resources.add(await loadEngine(config, logger));
  const backend = resources.add(await openBackend(config, logger));
  const storage = resources.add(await openStorage(config));
  const metrics = createMetrics({ processMetrics: true });
  resources.add(
    await startWorker({ config, backend, storage, engines: [engine], metrics: metrics.worker, logger }),
  );
});
