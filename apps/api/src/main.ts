import { openBackend } from '@trivec/core/backend/open';
import { loadConfig, readEnvironment } from '@trivec/core/config';
import { TrivecError } from '@trivec/core/errors';
import { JobService } from '@trivec/core/jobs/jobService';
import { Reconciler } from '@trivec/core/jobs/reconciler';
import { closeOnSignal, Resources } from '@trivec/core/shutdown';
import { openStorage } from '@trivec/core/storage/open';
import { createLogger } from '@trivec/core/telemetry/logger';
import { createMetrics } from '@trivec/core/telemetry/metrics';
import { buildApi } from './app.ts';

/** The API alone, for a backend that others share. */
async function main(): Promise<void> {
  const config = loadConfig(readEnvironment());
  const logger = createLogger(config);
  const resources = new Resources();
  // From here on, so that a signal during the start also releases what is open.
  closeOnSignal(() => resources.close(), logger);
  try {
    const backend = resources.add(await openBackend(config, logger));
    const storage = resources.add(await openStorage(config));
    const jobs = new JobService({ backend, storage, config, logger });
    resources.add(new Reconciler({ backend, storage, config, logger })).start();
    const metrics = createMetrics({ processMetrics: true });
    const app = resources.add(await buildApi({ config, backend, jobs, storage, logger, metrics }));
    const address = await app.listen({ host: config.host, port: config.port });
    logger.info({ address, backend: backend.kind, storage: storage.description }, 'listening');
  } catch (error) {
    await resources.close();
    throw error;
  }
}

main().catch((error: unknown) => {
  // One clear line for what the operator can change; a stack for what they cannot.
  console.error(
    error instanceof TrivecError && error.code !== 'internal' ? `${error.code}: ${error.message}` : error,
  );
  process.exit(1);
});
