import { randomUUID } from 'node:crypto';
import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { clientGone } from '../../clientGone.ts';
import { publicMessage, speakErrors } from '../../plugins/errors.ts';
import { ModelNameSchema } from '../../schemas/common.ts';
import { ranked } from '../../scorer.ts';
import type { Routes } from '../../services.ts';
import { clientOf } from '../../viewer.ts';
import { peerResponses } from './peer.ts';

/** Cohere reads `message`, Jina `detail`. */
const CohereErrorSchema = Type.Object({ id: Type.String(), message: Type.String(), detail: Type.String() });

const DocumentSchema = Type.Union([
  Type.String(),
  Type.Object({ text: Type.String() }, { additionalProperties: true }),
]);

/** The rerank of Cohere (v1 and v2) and Jina, which also Simple Inference Server speaks. */
export const cohereRoutes: Routes = async (app, { services: { config, models, scorer } }) => {
  speakErrors(app, config.maxBodyBytes, (error, request) => {
    const message = publicMessage(error);
    return { status: error.status, body: { id: request.id, message, detail: message } };
  });
  for (const path of ['/v1/rerank', '/v2/rerank']) {
    app.post(
      path,
      {
        schema: {
          summary: 'Order documents by a query (the path of Cohere and Jina; further fields are ignored)',
          tags: ['cohere'],
          body: Type.Object(
            {
              model: Type.Optional(ModelNameSchema),
              query: Type.String({ minLength: 1 }),
              documents: Type.Array(DocumentSchema, { minItems: 1, maxItems: config.maxInputs }),
              top_n: Type.Optional(Type.Integer({ minimum: 1 })),
              return_documents: Type.Optional(Type.Boolean()),
            },
            { additionalProperties: true },
          ),
          response: peerResponses(
            Type.Object({
              id: Type.String(),
              model: Type.String(),
              results: Type.Array(
                Type.Object({
                  index: Type.Integer(),
                  relevance_score: Type.Number({ description: '0 to 1, of a reranker.' }),
                  document: Type.Optional(Type.Object({ text: Type.String() })),
                }),
              ),
              usage: Type.Object({ total_tokens: Type.Integer() }),
              meta: Type.Object({ billed_units: Type.Object({ search_units: Type.Integer() }) }),
            }),
            CohereErrorSchema,
            [400, 401, 403, 404, 413, 415, 422, 429, 500, 503, 504],
          ),
        },
      },
      async (request, reply) => {
        const { model: name, query, documents, top_n, return_documents = false } = request.body;
        const texts = documents.map((document) => (typeof document === 'string' ? document : document.text));
        const model = await models.resolveScorer(name);
        const { scores, tokens } = await scorer.score(
          model,
          {
            pairs: texts.map((text) => [query, text]),
            normalize: true,
            client: clientOf(request),
            nameOf: (index, side) => (side === 0 ? 'query' : `documents[${index}]`),
          },
          clientGone(reply as FastifyReply),
        );
        return {
          id: randomUUID(),
          model: model.name,
          results: ranked(scores, top_n).map(({ index, score }) => ({
            index,
            relevance_score: score,
            ...(return_documents && { document: { text: texts[index] ?? '' } }),
          })),
          usage: { total_tokens: tokens },
          meta: { billed_units: { search_units: 1 } },
        };
      },
    );
  }
};
