import { randomUUID } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { clientGone } from '../../clientGone.ts';
import { type ErrorSpeaker, publicMessage, speakErrors } from '../../plugins/errors.ts';
import { nullable, rawResponse } from '../../schemas/common.ts';
import { InputsSchema, OpenAiListSchema, UsageSchema } from '../../schemas/embeddings.ts';
import { ranked } from '../../scorer.ts';
import type { Routes } from '../../services.ts';
import { clientOf } from '../../viewer.ts';
import { embeddingsAnswer } from '../embeddings.ts';
import { peerResponses } from './peer.ts';

const STATUSES = [400, 401, 403, 404, 413, 415, 422, 429, 500, 503, 504] as const;
const tags = ['infinity'];
/** What its clients send who name no model. */
const NO_MODEL = 'default/not-specified';
const askedModel = (model: string | undefined) => (model === NO_MODEL ? undefined : model);

const ErrorSchema = Type.Object({
  error: Type.Object({
    message: Type.String(),
    type: Type.Null(),
    param: nullable(Type.String()),
    code: Type.Integer({ description: 'The status.' }),
  }),
});

/** The code is the status; what its schema refuses is 422, a model that it does not serve 400. */
const infinityError: ErrorSpeaker = (error) => {
  const { code, param = null } = error;
  const isSchema = code === 'invalid_request' || code === 'empty_input' || code === 'unknown_output';
  const status = isSchema ? 422 : code === 'unknown_model' ? 400 : error.status;
  return { status, body: { error: { message: publicMessage(error), type: null, param, code: status } } };
};

/** infinity 0.0.77, under its prefix. */
export const infinityRoutes: Routes = async (app, { services }) => {
  const { config, models, scorer, metrics } = services;
  speakErrors(app, config.maxBodyBytes, infinityError);
  const responses = <S extends Parameters<typeof peerResponses>[0]>(ok: S) =>
    peerResponses(ok, ErrorSchema, STATUSES);

  app.post(
    '/embeddings',
    {
      schema: {
        summary: 'Dense vectors, as OpenAI answers them',
        tags,
        body: Type.Object(
          {
            input: InputsSchema,
            model: Type.Optional(Type.String({ maxLength: 256 })),
            encoding_format: Type.Optional(Type.Enum(['float', 'base64'])),
            dimensions: Type.Optional(Type.Integer({ minimum: 0, description: '0: all.' })),
            modality: Type.Optional(Type.Literal('text')),
          },
          { additionalProperties: true },
        ),
        response: responses(OpenAiListSchema),
      },
    },
    async (request, reply) => {
      const { input, encoding_format, dimensions } = request.body;
      const model = askedModel(request.body.model);
      const body = await embeddingsAnswer(
        services,
        {
          input,
          acceptBlank: true,
          ...(model !== undefined && { model }),
          ...(encoding_format !== undefined && { encoding_format }),
          ...(dimensions !== undefined && dimensions > 0 && { dimensions }),
        },
        clientOf(request),
        clientGone(reply as FastifyReply),
      );
      reply.type('application/json; charset=utf-8');
      return (reply as FastifyReply).send(body) as never;
    },
  );

  app.post(
    '/rerank',
    {
      schema: {
        summary: 'Order documents by a query',
        tags,
        body: Type.Object(
          {
            query: Type.String(),
            documents: Type.Array(Type.String(), { maxItems: config.maxInputs }),
            model: Type.Optional(Type.String({ maxLength: 256 })),
            return_documents: Type.Optional(Type.Boolean()),
            raw_scores: Type.Optional(Type.Boolean()),
            top_n: Type.Optional(nullable(Type.Integer({ minimum: 1 }))),
          },
          { additionalProperties: true },
        ),
        response: responses(
          Type.Object({
            object: Type.Literal('rerank'),
            results: Type.Array(
              Type.Object({
                relevance_score: Type.Number(),
                index: Type.Integer(),
                document: nullable(Type.String()),
              }),
            ),
            model: Type.String(),
            usage: UsageSchema,
            id: Type.String(),
            created: Type.Integer(),
          }),
        ),
      },
    },
    async (request, reply) => {
      const {
        query,
        documents,
        model: name,
        return_documents = false,
        raw_scores = false,
        top_n,
      } = request.body;
      const model = await models.resolveScorer(askedModel(name));
      const { scores, tokens } = await scorer.score(
        model,
        {
          pairs: documents.map((document) => [query, document]),
          normalize: !raw_scores,
          client: clientOf(request),
          nameOf: (index, side) => (side === 0 ? 'query' : `documents[${index}]`),
        },
        clientGone(reply as FastifyReply),
      );
      return {
        object: 'rerank' as const,
        results: ranked(scores, top_n ?? undefined).map(({ index, score }) => ({
          relevance_score: score,
          index,
          document: return_documents ? (documents[index] ?? null) : null,
        })),
        model: model.name,
        usage: { prompt_tokens: tokens, total_tokens: tokens },
        id: `infinity-${randomUUID()}`,
        created: Math.floor(Date.now() / 1000),
      };
    },
  );

  app.get(
    '/models',
    {
      schema: {
        summary: 'Models',
        tags,
        response: responses(
          Type.Object({
            object: Type.Literal('list'),
            data: Type.Array(
              Type.Object({
                id: Type.String(),
                object: Type.Literal('model'),
                owned_by: Type.Literal('infinity'),
                created: Type.Integer(),
                backend: Type.String(),
                capabilities: Type.Array(Type.String()),
              }),
            ),
          }),
        ),
      },
    },
    async () => ({
      object: 'list' as const,
      data: (await models.served()).map(({ model, workers }) => ({
        id: model.name,
        object: 'model' as const,
        owned_by: 'infinity' as const,
        created: Math.floor(Math.min(...workers.map(({ startedAtMs }) => startedAtMs)) / 1000),
        backend: 'onnx',
        capabilities: model.kind === 'reranker' ? ['rerank'] : ['embed', 'rerank'],
      })),
    }),
  );

  app.get(
    '/health',
    {
      config: { public: true },
      schema: { summary: 'Ready', tags, response: responses(Type.Object({ unix: Type.Number() })) },
    },
    async () => {
      await models.resolve(undefined);
      return { unix: Date.now() / 1000 };
    },
  );

  app.get(
    '/metrics',
    {
      schema: {
        summary: 'Prometheus metrics of this process',
        tags,
        response: { ...responses(Type.String()), 200: rawResponse('Text.', { 'text/plain': Type.String() }) },
      },
    },
    async (_request, reply) => {
      reply.type(metrics.registry.contentType);
      return reply.send((await metrics.registry.metrics()) as never);
    },
  );
};
