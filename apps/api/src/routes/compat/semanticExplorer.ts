import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { OverloadedError } from '../../admission.ts';
import { clientGone } from '../../clientGone.ts';
import { loadHeaders, publicMessage, speakErrors } from '../../plugins/errors.ts';
import { UsageSchema } from '../../schemas/embeddings.ts';
import { ranked } from '../../scorer.ts';
import type { Routes } from '../../services.ts';
import { printed } from '../../vectorBody.ts';
import { clientOf } from '../../viewer.ts';
import { peerResponses } from './peer.ts';

const STATUSES = [400, 401, 403, 404, 413, 415, 422, 429, 500, 503, 504] as const;
const ErrorSchema = Type.Object({ error: Type.String() });
const tags = ['semantic-explorer'];

/** The inference API of Semantic Explorer, under its prefix. A full queue is 503 with its depth. */
export const semanticExplorerRoutes: Routes = async (app, { services }) => {
  const { config, models, embedder, scorer, admission } = services;
  speakErrors(app, config.maxBodyBytes, (error) => ({
    status: error instanceof OverloadedError ? 503 : error.status,
    body: { error: publicMessage(error) },
  }));
  const responses = <S extends Parameters<typeof peerResponses>[0]>(ok: S) =>
    peerResponses(ok, ErrorSchema, STATUSES);
  const Texts = Type.Union([Type.String(), Type.Array(Type.String(), { maxItems: config.maxInputs })]);

  app.post(
    '/embed',
    {
      schema: {
        summary: 'Dense vectors',
        tags,
        body: Type.Object(
          {
            input: Type.Optional(Texts),
            text: Type.Optional(Texts),
            texts: Type.Optional(Texts),
            model: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
          },
          { additionalProperties: true },
        ),
        response: responses(
          Type.Object({
            embeddings: Type.Array(Type.Array(Type.Number())),
            model: Type.String(),
            usage: UsageSchema,
          }),
        ),
      },
    },
    async (request, reply) => {
      const { input, text, texts, model: name } = request.body;
      const model = await models.resolve(name);
      const { vectors, tokens } = await embedder.embed(
        model,
        {
          texts: [input ?? texts ?? text ?? []].flat(),
          outputs: ['dense'],
          acceptBlank: true,
          client: clientOf(request),
        },
        clientGone(reply as FastifyReply),
      );
      reply.headers(loadHeaders(admission.load(model.fingerprint)));
      reply.type('application/json; charset=utf-8');
      const body = await printed(function* (out) {
        out.raw('{"embeddings":[');
        for (const [index, { dense }] of vectors.entries()) {
          if (index > 0) out.raw(',');
          out.floats(dense ?? []);
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
            model: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
            top_n: Type.Optional(Type.Integer({ minimum: 1 })),
          },
          { additionalProperties: true },
        ),
        response: responses(
          Type.Object({
            results: Type.Array(
              Type.Object({ index: Type.Integer(), score: Type.Number(), text: Type.String() }),
            ),
            model: Type.String(),
          }),
        ),
      },
    },
    async (request, reply) => {
      const { query, documents, model: name, top_n } = request.body;
      const model = await models.resolveScorer(name);
      const { scores } = await scorer.score(
        model,
        {
          pairs: documents.map((document) => [query, document]),
          normalize: true,
          client: clientOf(request),
          nameOf: (index, side) => (side === 0 ? 'query' : `documents[${index}]`),
        },
        clientGone(reply as FastifyReply),
      );
      reply.headers(loadHeaders(admission.load(model.fingerprint)));
      return {
        results: ranked(scores, top_n).map(({ index, score }) => ({
          index,
          score,
          text: documents[index] ?? '',
        })),
        model: model.name,
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
            models: Type.Array(
              Type.Object({ id: Type.String(), type: Type.String(), dimensions: Type.Integer() }),
            ),
          }),
        ),
      },
    },
    async () => ({
      models: (await models.served()).map(({ model }) => ({
        id: model.name,
        type: model.kind,
        dimensions: model.denseDims,
      })),
    }),
  );

  for (const path of ['/health/live', '/health/ready']) {
    app.get(
      path,
      {
        config: { public: true },
        schema: {
          summary: path.endsWith('live') ? 'The process answers' : 'The model is served',
          tags,
          response: responses(Type.Object({ status: Type.String() })),
        },
      },
      async () => {
        if (path.endsWith('live')) return { status: 'alive' };
        await models.resolve(undefined);
        return { status: 'ready' };
      },
    );
  }
};
