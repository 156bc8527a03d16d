import type { Backend } from '@trivec/core/backend/backend';
import type { Config } from '@trivec/core/config';
import { JobService } from '@trivec/core/jobs/jobService';
import { Reconciler } from '@trivec/core/jobs/reconciler';
import { Resources } from '@trivec/core/shutdown';
import { openQdrant } from '@trivec/core/sinks/qdrant/open';
import type { BlobStore } from '@trivec/core/storage/blobStore';
import type { Metrics } from '@trivec/core/telemetry/metrics';
import { WebhookSender } from '@trivec/core/webhooks/sender';
import type { Logger } from 'pino';
import { atAddress } from './address.ts';
import { buildApi } from './app.ts';

export interface StartApiDeps {
  config: Config;
  backend: Backend;
  storage: BlobStore;
  metrics: Metrics;
  logger: Logger;
}

export interface RunningApi {
  /** Where it listens, `http://…` with the real port. */
  url: string;
  /** Refuses what is new, waits for what is in flight. Idempotent. */
  close(): Promise<void>;
}

/** The API and the reconciler that heals jobs, listening. */
export async function startApi(deps: StartApiDeps): Promise<RunningApi> {
  const { config, backend, storage, logger } = deps;
  const resources = new Resources();
  try {
    const qdrant = openQdrant(config);
    if (qdrant !== undefined) resources.add(qdrant);
    const jobs = new JobService({ backend, storage, config, logger, ...(qdrant && { qdrant }) });
    const webhooks = resources.add(new WebhookSender({ allowPrivate: config.allowPrivateWebhooks }));
    resources.add(new Reconciler({ backend, storage, config, logger, webhooks })).start();
    const app = resources.add(
      await buildApi({
        ...deps,
        ...(backend.redis && { redis: backend.redis }),
        jobs,
        ...(qdrant && { qdrant }),
      }),
    );
    const url = await atAddress(config, (address) => app.listen(address));
    logger.info({ url, backend: backend.kind, storage: storage.description }, 'listening');
    return { url, close: () => resources.close() };
  } catch (error) {
    await resources.close();
    throw error;
  }
}
