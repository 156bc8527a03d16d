import { TrivecError } from '@trivec/core/errors';
import type { FastifyReply } from 'fastify';
import { clientGone } from '../clientGone.ts';
import { errorResponses } from '../schemas/common.ts';
import { EmbeddingsSchema, embeddingsBody } from '../schemas/embeddings.ts';
import type { Routes } from '../services.ts';
import { vectorBody } from '../vectorBody.ts';

export const embeddingRoutes: Routes = async (app, { services: { config, models, embedder } }) => {
  for (const [path, isOpenAi] of [
    ['/embeddings', false],
    ['/v1/embeddings', true],
  ] as const) {
    app.post(
      path,
      {
        schema: {
          summary: isOpenAi
            ? 'Embed texts (the path of OpenAI; further fields are ignored)'
            : 'Embed texts now',
          description:
            'Without `outputs` the answer is that of OpenAI; with `outputs` the items carry the vectors by name.',
          tags: ['embeddings'],
          body: embeddingsBody(config, isOpenAi),
          response: {
            200: EmbeddingsSchema,
            ...errorResponses(
              'invalid_json',
              'empty_input',
              'unknown_output',
              'unknown_model',
              'body_too_large',
              'unsupported_media_type',
              'text_too_long',
              'overloaded',
              'model_failed',
              'model_unavailable',
              'deadline_exceeded',
            ),
          },
        },
      },
      async (request, reply) => {
        const { input, model: name, outputs, encoding_format, ...options } = request.body;
        if (outputs !== undefined && encoding_format === 'base64') {
          throw new TrivecError('invalid_request', 'encoding_format base64 goes without outputs.', {
            param: 'encoding_format',
          });
        }
        const texts = typeof input === 'string' ? [input] : input;
        const model = await models.resolve(name);
        const signal = clientGone(reply as FastifyReply);
        const embedded = await embedder.embed(
          model,
          { ...options, texts, outputs: outputs ?? ['dense'] },
          signal,
        );
        const body = vectorBody(
          embedded,
          encoding_format ?? 'float',
          outputs === undefined ? 'openai' : 'native',
        );
        reply.type('application/json; charset=utf-8');
        // Printed already: past the schema's serialiser.
        return (reply as FastifyReply).send(body) as never;
      },
    );
  }
};
