import { TrivecError } from '@trivec/core/errors';
import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { clientGone } from '../../clientGone.ts';
import { speakErrors } from '../../plugins/errors.ts';
import { ModelNameSchema, SparseSchema } from '../../schemas/common.ts';
import { EmbeddingsSchema, embeddingsBody, UsageSchema } from '../../schemas/embeddings.ts';
import { ModelSchema, ModelsSchema } from '../../schemas/models.ts';
import type { Routes } from '../../services.ts';
import { textInputs } from '../../textInputs.ts';
import { printed } from '../../vectorBody.ts';
import { clientOf } from '../../viewer.ts';
import { embeddingsAnswer } from '../embeddings.ts';
import { modelList } from '../models.ts';
import { OpenAiErrorSchema, openAiError } from './openaiErrors.ts';
import { peerResponses } from './peer.ts';

const SparseItem = { index: Type.Integer(), sparse_values: SparseSchema };

/** OpenAI's paths, and what bge-m3-embedding-server has beside them. */
export const openAiRoutes: Routes = async (app, { services }) => {
  const { config, models, embedder } = services;
  speakErrors(app, config.maxBodyBytes, openAiError);
  const responses = <S extends Parameters<typeof peerResponses>[0]>(ok: S) =>
    peerResponses(ok, OpenAiErrorSchema, [400, 401, 403, 404, 413, 415, 422, 429, 500, 503, 504]);

  app.post(
    '/v1/embeddings',
    {
      schema: {
        summary: 'Embed texts (the path of OpenAI; further fields are ignored)',
        description:
          'The fields of POST /embeddings; without `outputs` the answer is that of OpenAI. Errors are OpenAI’s.',
        tags: ['openai'],
        body: embeddingsBody(config, true),
        response: responses(EmbeddingsSchema),
      },
    },
    async (request, reply) => {
      reply.type('application/json; charset=utf-8');
      const signal = clientGone(reply as FastifyReply);
      const body = await embeddingsAnswer(
        services,
        { ...request.body, acceptBlank: true },
        clientOf(request),
        signal,
      );
      return (reply as FastifyReply).send(body) as never;
    },
  );

  app.get(
    '/v1/models',
    {
      schema: {
        summary: 'Models that requests can name now (the path of OpenAI)',
        tags: ['openai'],
        response: responses(ModelsSchema),
      },
    },
    () => modelList(models),
  );

  app.get(
    '/v1/models/:model',
    {
      schema: {
        summary: 'One model (the path of OpenAI)',
        tags: ['openai'],
        params: Type.Object({ model: ModelNameSchema }),
        response: responses(ModelSchema),
      },
    },
    async (request) => {
      const { name } = await models.resolve(request.params.model);
      const found = (await modelList(models)).data.find(({ id }) => id === name);
      if (found === undefined)
        throw new TrivecError('model_unavailable', 'No worker serves this model any more.', {
          param: 'model',
        });
      return found;
    },
  );

  for (const [path, withDense] of [
    ['/v1/sparse-embeddings', false],
    ['/v1/embeddings::both', true],
  ] as const) {
    app.post(
      path,
      {
        schema: {
          summary: withDense ? 'Dense and sparse vectors at once' : 'Sparse vectors',
          description: 'As bge-m3-embedding-server answers them. The fields of POST /embeddings.',
          tags: ['openai'],
          body: embeddingsBody(config, true),
          response: responses(
            Type.Object({
              object: Type.Literal('list'),
              data: Type.Array(
                Type.Object(withDense ? { ...SparseItem, embedding: Type.Array(Type.Number()) } : SparseItem),
              ),
              model: Type.String(),
              usage: UsageSchema,
            }),
          ),
        },
      },
      async (request, reply) => {
        const { input, model: name, truncate, normalize, dimensions, timeoutMs } = request.body;
        const model = await models.resolve(name);
        const { vectors, tokens } = await embedder.embed(
          model,
          {
            texts: textInputs(input, config.maxInputs),
            outputs: withDense ? ['dense', 'sparse'] : ['sparse'],
            truncate,
            normalize,
            dimensions,
            timeoutMs,
            acceptBlank: true,
            client: clientOf(request),
          },
          clientGone(reply as FastifyReply),
        );
        reply.type('application/json; charset=utf-8');
        const body = await printed(function* (out) {
          out.raw('{"object":"list","data":[');
          for (const [index, { dense, sparse }] of vectors.entries()) {
            out.raw(index > 0 ? ',{"index":' : '{"index":');
            out.uint(index);
            if (dense !== undefined) {
              out.raw(',"embedding":');
              out.floats(dense);
            }
            out.raw(',"sparse_values":{"indices":');
            out.uints(sparse?.indices ?? []);
            out.raw(',"values":');
            out.floats(sparse?.values ?? []);
            out.raw('}}');
            yield;
          }
          out.raw('],"model":');
          out.json(model.name);
          out.raw(',"usage":');
          out.json({ prompt_tokens: tokens, total_tokens: tokens });
          out.raw('}');
        });
        return (reply as FastifyReply).send(body) as never;
      },
    );
  }
};
