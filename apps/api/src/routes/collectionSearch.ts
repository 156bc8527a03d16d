import { TrivecError } from '@trivec/core/errors';
import { requireSink } from '@trivec/core/jobs/sinkPlan';
import { denseSizeOf, namesFrom, outputsFor, readHits, searchBody } from '@trivec/core/sinks/qdrant/search';
import type { FastifyReply } from 'fastify';
import { clientGone } from '../clientGone.ts';
import { CollectionSearchSchema, collectionSearchBody } from '../schemas/collectionSearch.ts';
import { errorResponses } from '../schemas/common.ts';
import type { Routes } from '../services.ts';
import { clientOf } from '../viewer.ts';

const DEFAULT_LIMIT = 10;
/** Someone waits: one more attempt, no patience beyond. */
const RETRIES = 1;

export const collectionSearchRoutes: Routes = async (
  app,
  { services: { config, models, embedder, qdrant } },
) => {
  app.post(
    '/search',
    {
      schema: {
        summary: 'Ask a question of a Qdrant collection',
        description:
          'Embeds the query and asks Qdrant: dense and sparse fused by reciprocal rank, or those re-ranked by ColBERT. ' +
          'A thin convenience; docs/qdrant.md shows the query itself.',
        tags: ['search'],
        body: collectionSearchBody(config.maxInputChars),
        response: {
          200: CollectionSearchSchema,
          ...errorResponses(
            'invalid_json',
            'unknown_model',
            'not_found',
            'body_too_large',
            'unsupported_media_type',
            'text_too_long',
            'sink_rejected',
            'model_unavailable',
            'sink_unavailable',
            'deadline_exceeded',
          ),
        },
      },
    },
    async (request, reply) => {
      const {
        target,
        collection,
        query,
        limit = DEFAULT_LIMIT,
        mode = 'hybrid',
        filter,
        model: name,
      } = request.body;
      const { connection } = requireSink(qdrant, target, 'collection');
      const signal = clientGone(reply as FastifyReply);
      const model = await models.resolve(name);
      const found = await connection.collectionConfig(collection, { retries: RETRIES });
      if (found === undefined)
        throw new TrivecError('not_found', `There is no collection ${JSON.stringify(collection)}.`, {
          param: 'collection',
        });
      const names = namesFrom(found);
      const outputs = outputsFor(mode).filter(
        (output) => names[output] !== undefined && model.outputs.includes(output),
      );
      if (outputs.length === 0)
        throw new TrivecError(
          'invalid_request',
          `mode ${mode} needs vectors that collection ${collection} or model ${model.name} lacks.`,
          { param: 'mode' },
        );
      const size = denseSizeOf(found, names);
      const { vectors, warnings } = await embedder.embed(
        model,
        {
          texts: [query],
          outputs,
          // A collection of shortened vectors is asked with one as short.
          dimensions:
            outputs.includes('dense') && size !== undefined && size < model.denseDims ? size : undefined,
          client: clientOf(request),
          nameOf: () => 'query',
        },
        signal,
      );
      const [vector] = vectors;
      if (vector === undefined) throw new TrivecError('internal', 'The query got no vectors.');
      const search = { mode, limit, ...(filter !== undefined && { filter }) };
      const points = await connection.query(collection, searchBody(vector, names, search), {
        retries: RETRIES,
        signal,
      });
      return { hits: readHits(points, search, vector.colbert?.rows ?? 0), mode, warnings };
    },
  );
};
