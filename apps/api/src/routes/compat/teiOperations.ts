import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { clientGone } from '../../clientGone.ts';
import { speakErrors } from '../../plugins/errors.ts';
import { rawResponse } from '../../schemas/common.ts';
import { InputsSchema, OpenAiListSchema } from '../../schemas/embeddings.ts';
import type { Routes } from '../../services.ts';
import { VERSION } from '../../version.ts';
import { clientOf } from '../../viewer.ts';
import { embeddingsAnswer } from '../embeddings.ts';
import { peerResponses } from './peer.ts';
import type { TeiMetrics } from './peerMetrics.ts';
import { TEI_STATUSES, TeiOpenAiErrorSchema, teiOpenAiError, teiResponses } from './teiErrors.ts';

const tags = ['tei'];

/** TEI's OpenAI paths, whose errors are of another shape than those of its own. */
export const teiOpenAi: Routes = async (app, { services }) => {
  speakErrors(app, services.config.maxBodyBytes, teiOpenAiError, { ownsPrefix: false });
  for (const path of ['/v1/embeddings', '/embeddings']) {
    app.post(
      path,
      {
        schema: {
          summary: 'Dense vectors, as OpenAI answers them',
          tags,
          body: Type.Object(
            {
              input: InputsSchema,
              model: Type.Optional(Type.String({ description: 'Ignored, as TEI does: it serves one.' })),
              user: Type.Optional(Type.String()),
              encoding_format: Type.Optional(Type.Enum(['float', 'base64'])),
              dimensions: Type.Optional(Type.Integer({ minimum: 1 })),
            },
            { additionalProperties: true },
          ),
          response: {
            ...peerResponses(OpenAiListSchema, TeiOpenAiErrorSchema, TEI_STATUSES),
            401: Type.Null({ description: 'Without a body.' }),
          },
        },
      },
      async (request, reply) => {
        const { input, encoding_format, dimensions } = request.body;
        const signal = clientGone(reply as FastifyReply);
        const body = await embeddingsAnswer(
          services,
          {
            input,
            truncate: false,
            acceptBlank: true,
            ...(encoding_format && { encoding_format }),
            dimensions,
          },
          clientOf(request),
          signal,
        );
        reply.type('application/json; charset=utf-8');
        return (reply as FastifyReply).send(body) as never;
      },
    );
  }
};

export const teiOperations =
  (metrics: TeiMetrics): Routes =>
  async (app, { services: { config, models, admission } }) => {
    app.get(
      '/health',
      {
        config: { public: true },
        schema: { summary: 'Ready', tags, response: teiResponses(Type.Null({ description: 'Empty.' })) },
      },
      async (_request, reply) => {
        await models.resolve(undefined);
        return reply.send('' as never);
      },
    );

    app.get(
      '/info',
      {
        schema: {
          summary: 'The model and its limits',
          tags,
          response: teiResponses(
            Type.Object({
              model_id: Type.String(),
              model_sha: Type.String(),
              model_dtype: Type.String(),
              model_type: Type.Object({}, { additionalProperties: true }),
              max_concurrent_requests: Type.Integer(),
              max_input_length: Type.Integer(),
              max_batch_tokens: Type.Integer(),
              max_client_batch_size: Type.Integer(),
              auto_truncate: Type.Boolean(),
              version: Type.String(),
            }),
          ),
        },
      },
      async () => {
        const model = await models.resolve(undefined);
        return {
          model_id: model.name,
          model_sha: model.fingerprint,
          model_dtype: model.dtype,
          model_type: model.kind === 'reranker' ? { reranker: {} } : { embedding: { pooling: 'cls' } },
          max_concurrent_requests: config.maxQueuedTasks + config.maxConcurrentTasks,
          max_input_length: model.maxTokens,
          max_batch_tokens: models.batchTokens(model.fingerprint),
          max_client_batch_size: config.maxInputs,
          auto_truncate: false,
          version: VERSION,
        };
      },
    );

    app.get(
      '/metrics',
      {
        schema: {
          summary: 'Prometheus metrics under the names of TEI',
          tags,
          response: {
            ...teiResponses(Type.String()),
            200: rawResponse('Text.', { 'text/plain': Type.String() }),
          },
        },
      },
      async (_request, reply) => {
        const model = await models.resolve(undefined);
        metrics.queueSize.set(admission.load(model.fingerprint).queueDepth);
        reply.type(metrics.registry.contentType);
        return reply.send((await metrics.registry.metrics()) as never);
      },
    );
  };
