import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { clientGone } from '../../clientGone.ts';
import { promptOf } from '../../embedder.ts';
import { publicMessage, speakErrors } from '../../plugins/errors.ts';
import { InputsSchema, UsageSchema } from '../../schemas/embeddings.ts';
import type { Routes } from '../../services.ts';
import { textInputs } from '../../textInputs.ts';
import { printed } from '../../vectorBody.ts';
import { clientOf } from '../../viewer.ts';
import { DirectionSchema, direction, peerResponses } from './peer.ts';

const STATUSES = [400, 401, 403, 404, 413, 415, 422, 429, 500, 503, 504] as const;
const ErrorSchema = Type.Object({ error: Type.String(), error_type: Type.String() });

/** elijahross/embedding-server, under its prefix. */
export const embeddingServerRoutes: Routes = async (app, { services: { config, models, embedder } }) => {
  speakErrors(app, config.maxBodyBytes, (error) => ({
    status: error.status,
    body: { error: publicMessage(error), error_type: error.code },
  }));
  app.post(
    '/api/v1/embed',
    {
      schema: {
        summary: 'Dense vectors',
        tags: ['embedding-server'],
        body: Type.Object(
          {
            inputs: InputsSchema,
            truncate: Type.Optional(Type.Boolean()),
            truncation_direction: DirectionSchema,
            prompt_name: Type.Optional(Type.String()),
            normalize: Type.Optional(Type.Boolean()),
            dimensions: Type.Optional(Type.Integer({ minimum: 1 })),
          },
          { additionalProperties: true },
        ),
        response: peerResponses(
          Type.Object({
            data: Type.Array(Type.Object({ embedding: Type.Array(Type.Number()), index: Type.Integer() })),
            usage: UsageSchema,
            timings: Type.Object({
              tokenization: Type.Number(),
              queue: Type.Number(),
              inference: Type.Number(),
            }),
          }),
          ErrorSchema,
          STATUSES,
        ),
      },
    },
    async (request, reply) => {
      const { inputs, truncate, truncation_direction, prompt_name, normalize, dimensions } = request.body;
      const model = await models.resolve(undefined);
      const { vectors, tokens, timings } = await embedder.embed(
        model,
        {
          texts: textInputs(inputs, config.maxInputs, 'inputs'),
          outputs: ['dense'],
          truncate,
          truncationDirection: direction(truncation_direction),
          prompt: promptOf({ promptName: prompt_name }, model),
          normalize,
          dimensions,
          acceptBlank: true,
          client: clientOf(request),
          nameOf: (index) => `inputs[${index}]`,
        },
        clientGone(reply as FastifyReply),
      );
      reply.type('application/json; charset=utf-8');
      const body = await printed(function* (out) {
        out.raw('{"data":[');
        for (const [index, { dense }] of vectors.entries()) {
          out.raw(index > 0 ? ',{"embedding":' : '{"embedding":');
          out.floats(dense ?? []);
          out.raw(',"index":');
          out.uint(index);
          out.raw('}');
          yield;
        }
        out.raw('],"usage":');
        out.json({ prompt_tokens: tokens, total_tokens: tokens });
        out.raw(',"timings":');
        out.json({
          tokenization: timings.tokenizeMs,
          queue: timings.queueMs,
          inference: timings.inferMs,
        });
        out.raw('}');
      });
      return (reply as FastifyReply).send(body) as never;
    },
  );

  app.get(
    '/health',
    {
      config: { public: true },
      schema: {
        summary: 'Ready',
        tags: ['embedding-server'],
        response: peerResponses(Type.Object({ status: Type.String() }), ErrorSchema, STATUSES),
      },
    },
    async () => {
      await models.resolve(undefined);
      return { status: 'ok' };
    },
  );
};
