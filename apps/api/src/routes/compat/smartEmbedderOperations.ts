import { Type } from 'typebox';
import { rawResponse } from '../../schemas/common.ts';
import type { Routes } from '../../services.ts';
import { VERSION } from '../../version.ts';
import { readStats } from '../stats.ts';
import type { smartEmbedderMetrics } from './peerMetrics.ts';
import { smartEmbedderResponses } from './smartEmbedderErrors.ts';

const tags = ['smart-embedder'];

/** What Smart-Embedder tells of itself: health, stats and metrics, which its other routes count in. */
export const smartEmbedderOperations =
  (metrics: ReturnType<typeof smartEmbedderMetrics>): Routes =>
  async (app, { services }) => {
    const { models, admission } = services;

    app.get(
      '/health',
      {
        config: { public: true },
        schema: {
          summary: 'Ready',
          tags,
          response: smartEmbedderResponses(
            Type.Object({
              status: Type.Literal('healthy'),
              version: Type.String(),
              model: Type.String(),
              model_name: Type.String(),
            }),
          ),
        },
      },
      async () => {
        const { name } = await models.resolve(undefined);
        return { status: 'healthy' as const, version: VERSION, model: name, model_name: name };
      },
    );

    app.get(
      '/stats',
      {
        schema: {
          summary: 'What was done',
          tags,
          response: smartEmbedderResponses(
            Type.Object({
              uptime: Type.Number(),
              requests: Type.Integer(),
              sentences: Type.Integer(),
              batches: Type.Integer(),
              rejected_requests: Type.Integer(),
            }),
          ),
        },
      },
      async () => {
        const { uptimeSeconds, requests, refused, texts } = await readStats(services);
        return {
          uptime: uptimeSeconds,
          requests,
          sentences: texts,
          batches: requests,
          rejected_requests: refused,
        };
      },
    );

    app.get(
      '/metrics',
      {
        schema: {
          summary: 'Prometheus metrics under the names of Smart-Embedder',
          tags,
          response: {
            ...smartEmbedderResponses(Type.String()),
            200: rawResponse('Text.', { 'text/plain': Type.String() }),
          },
        },
      },
      async (_request, reply) => {
        const model = await models.resolve(undefined);
        metrics.queueSize.set(admission.load(model.fingerprint).queueDepth);
        metrics.serverInfo.reset();
        metrics.serverInfo.set({ version: VERSION, model: model.name }, 1);
        reply.type(metrics.registry.contentType);
        return reply.send((await metrics.registry.metrics()) as never);
      },
    );
  };
