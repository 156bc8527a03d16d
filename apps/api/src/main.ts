import { openBackend } from '@trivec/core/backend/open';
import { runProcess } from '@trivec/core/runProcess';
import { openStorage } from '@trivec/core/storage/open';
import { createMetrics } from '@trivec/core/telemetry/metrics';
import { checkApiConfig } from './checkApiConfig.ts';
import { startApi } from './start.ts';

/** The API alone, on a backend that workers share. */
await runProcess('shared', async ({ config, logger, resources }) => {
  await checkApiConfig(config);
  const backend = resources.add(await openBackend(config, logger));
  const storage = resources.add(await openStorage(config));
  const metrics = createMetrics({ processMetrics: true });
  resources.add(await startApi({ config, backend, storage, metrics, logger }));
});
