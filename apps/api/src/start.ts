import type { Backend } from '@trivec/core/backend/backend';
import type { Config } from '@trivec/core/config';
import { defaultUrl } from '@trivec/core/defaultUrl';
import { TrivecError } from '@trivec/core/errors';
import { JobService } from '@trivec/core/jobs/jobService';
import { Reconciler } from '@trivec/core/jobs/reconciler';
import { Resources } from '@trivec/core/shutdown';
import { openQdrant } from '@trivec/core/sinks/qdrant/open';
import type { BlobStore } from '@trivec/core/storage/blobStore';
import type { Metrics } from '@trivec/core/telemetry/metrics';
import { WebhookSender } from '@trivec/core/webhooks/sender';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
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
    const url = await listen(app, config);
    logger.info({ url, backend: backend.kind, storage: storage.description }, 'listening');
    return { url, close: () => resources.close() };
  } catch (error) {
    await resources.close();
    throw error;
  }
}

/** Throws `invalid_config` where HOST or PORT cannot be had: another attempt would end in just the same way. */
export async function listen(
  app: FastifyInstance,
  { host, port }: Pick<Config, 'host' | 'port'>,
): Promise<string> {
  try {
    return await app.listen({ host, port });
  } catch (cause) {
    const [param, problem] = LISTEN_PROBLEMS[(cause as NodeJS.ErrnoException).code ?? ''] ?? [];
    if (param === undefined) throw cause;
    const given = param === 'HOST' ? host : `${port} of ${host}`;
    const url = param === 'PORT' ? await runningServer(host, port) : undefined;
    if (url !== undefined)
      throw new TrivecError(
        'invalid_config',
        `PORT: a trivec server runs at ${url} already. Use it, stop it, or choose another PORT (0 takes a free one).`,
        { param, cause },
      );
    throw new TrivecError('invalid_config', `${param}: ${given} ${problem}.`, { param, cause });
  }
}

const PROBE_TIMEOUT_MS = 1_000;

/** The address of a trivec server that has the port. */
async function runningServer(host: string, port: number): Promise<string | undefined> {
  const url = defaultUrl({ host, port });
  try {
    const response = await fetch(url, {
      headers: { accept: 'application/json' },
      redirect: 'manual',
      signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
    });
    const { name } = (await response.json()) as { name?: unknown };
    return name === 'trivec' ? url : undefined;
  } catch {
    return undefined;
  }
}

const LISTEN_PROBLEMS: Partial<Record<string, ['HOST' | 'PORT', string]>> = {
  EADDRINUSE: ['PORT', 'is taken by another process. Stop it, or choose another PORT (0 takes a free one)'],
  EACCES: ['PORT', 'may not be used by this user. Choose a PORT above 1023'],
  EADDRNOTAVAIL: ['HOST', 'is not an address of this machine'],
  ENOTFOUND: ['HOST', 'is not a name or address that can be found'],
};
