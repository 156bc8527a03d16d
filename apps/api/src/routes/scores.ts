import type { TextPair } from '@trivec/core/engine/types';
import type { FastifyReply } from 'fastify';
import { clientGone } from '../clientGone.ts';
import { errorResponses } from '../schemas/common.ts';
import { RerankSchema, rerankBody, ScoreSchema, scoreBody } from '../schemas/scores.ts';
import { ranked, type Scored } from '../scorer.ts';
import type { Routes } from '../services.ts';
import { clientOf } from '../viewer.ts';
import { ENGINE_ERRORS } from './embeddings.ts';

export const scoreRoutes: Routes = async (app, { services: { config, models, scorer } }) => {
  app.post(
    '/rerank',
    {
      schema: {
        summary: 'Order documents by how well they answer a query',
        description:
          'By a reranker where one is served or named, else by the vectors of the embedding model (FlagEmbedding’s compute_score).',
        tags: ['scores'],
        body: rerankBody(config),
        response: { 200: RerankSchema, ...errorResponses(...ENGINE_ERRORS) },
      },
    },
    async (request, reply) => {
      const { query, documents, topN, returnDocuments = false, model: name, ...options } = request.body;
      const model = await models.resolveScorer(name);
      const scored = await scorer.score(
        model,
        {
          ...options,
          pairs: documents.map((document) => [query, document]),
          client: clientOf(request),
          nameOf: (index, side) => (side === 0 ? 'query' : `documents[${index}]`),
        },
        clientGone(reply as FastifyReply),
      );
      return {
        results: ranked(scored.scores, topN).map(({ index, score, parts }) => ({
          index,
          score,
          scores: parts,
          ...(returnDocuments && { document: documents[index] ?? '' }),
        })),
        ...summary(scored),
      };
    },
  );

  app.post(
    '/score',
    {
      schema: {
        summary: 'How near the texts of each pair are',
        tags: ['scores'],
        body: scoreBody(config),
        response: { 200: ScoreSchema, ...errorResponses(...ENGINE_ERRORS) },
      },
    },
    async (request, reply) => {
      const { pairs, model: name, ...options } = request.body;
      const model = await models.resolveScorer(name);
      const scored = await scorer.score(
        model,
        {
          ...options,
          pairs: pairs.map(([query = '', passage = '']): TextPair => [query, passage]),
          client: clientOf(request),
        },
        clientGone(reply as FastifyReply),
      );
      return {
        scores: scored.scores.map(({ score, parts }) => ({ score, scores: parts })),
        ...summary(scored),
      };
    },
  );
};

function summary({ model, tokens, truncated, maxTokens, timings }: Scored) {
  return {
    model: model.name,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
    warnings: truncated.map((index) => ({ code: 'input_truncated' as const, index, maxTokens })),
    timings,
  };
}
