import { basename } from 'node:path';
import { TrivecError } from '@trivec/core/errors';
import { Type } from 'typebox';
import { PROBE_TIMEOUT_MS } from '../plugins/backendAlive.ts';
import { errorResponses, rawResponse } from '../schemas/common.ts';
import { LiveSchema, ReadySchema } from '../schemas/models.ts';
import type { Routes } from '../services.ts';

/** The embedded database may be busy with a large upload, and is well. */
const READY_TIMEOUT_MS = { redis: PROBE_TIMEOUT_MS, embedded: 10_000 };
const SCRAPE_TIMEOUT_MS = 1_000;

export const healthRoutes: Routes = async (
  app,
  { services: { backend, watch, models, metrics, admission } },
) => {
  app.get(
    '/health/live',
    {
      config: { public: true },
      schema: {
        summary: 'The process answers',
        tags: ['operations'],
        response: { 200: LiveSchema, ...errorResponses() },
      },
    },
    async () => ({ status: 'ok' as const }),
  );

  // The short path is what probes and clients of other servers try first.
  for (const path of ['/health', '/health/ready'] as const) {
    app.get(
      path,
      {
        config: { public: true },
        schema: {
          summary: 'The backend answers and a worker serves the configured model',
          tags: ['operations'],
          response: { 200: ReadySchema, ...errorResponses('model_unavailable') },
        },
      },
      async () => {
        if (app.isDraining())
          throw new TrivecError('shutting_down', 'The server is shutting down.', { retryAfterSeconds: 5 });
        await watch.check(READY_TIMEOUT_MS[backend.kind]);
        const model = await models.resolve(undefined);
        const served = await models.served();
        const workers = served.find((entry) => entry.model.name === model.name)?.workers.length ?? 0;
        const failed = (await models.failed()).map(({ name, code }) => ({ name: basename(name), code }));
        return {
          status: 'ready' as const,
          model: model.name,
          workers,
          ...(failed.length > 0 && { failed }),
        };
      },
    );
  }

  app.get(
    '/metrics',
    {
      schema: {
        summary: 'Prometheus metrics',
        tags: ['operations'],
        response: { 200: rawResponse('Text format.', { 'text/plain': Type.String() }), ...errorResponses() },
      },
    },
    async (_request, reply) => {
      await readGauges();
      reply.type(metrics.registry.contentType);
      return reply.send((await metrics.registry.metrics()) as never);
    },
  );

  /** A scrape during an outage of the backend still tells what this process knows. */
  async function readGauges(): Promise<void> {
    metrics.workers.reset();
    metrics.requestsWaiting.reset();
    try {
      await watch.check(SCRAPE_TIMEOUT_MS);
      for (const { model, workers } of await models.served()) {
        metrics.workers.set({ model: model.name }, workers.length);
        metrics.requestsWaiting.set(
          { model: model.name },
          (await backend.interactive.depth(model.fingerprint)) + admission.waiting(model.fingerprint),
        );
      }
    } catch (error) {
      app.log.warn({ err: error }, 'the registry could not be read for /metrics');
    }
  }
};
