import { TrivecError } from '@trivec/core/errors';
import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { clientGone } from '../../clientGone.ts';
import { speakErrors } from '../../plugins/errors.ts';
import { nullable } from '../../schemas/common.ts';
import { ranked } from '../../scorer.ts';
import type { Routes } from '../../services.ts';
import { printed, writeColbert } from '../../vectorBody.ts';
import { clientOf } from '../../viewer.ts';
import { smartEmbedderMetrics } from './peerMetrics.ts';
import { smartEmbedderError, smartEmbedderResponses } from './smartEmbedderErrors.ts';
import { smartEmbedderOperations } from './smartEmbedderOperations.ts';

const WarningSchema = Type.Object({
  code: Type.Literal('input_truncated'),
  severity: Type.Literal('warning'),
  message: Type.String(),
  target: Type.Object({ field: Type.String(), index: Type.Integer(), pointer: Type.String() }),
  details: Type.Object({
    model: Type.String(),
    max_tokens: Type.Integer(),
    original_tokens: Type.Optional(Type.Integer()),
    truncated_tokens: Type.Optional(Type.Integer()),
    truncation_side: Type.Literal('right'),
  }),
});

function warning(field: string, index: number, model: string, maxTokens: number, originalTokens?: number) {
  return {
    code: 'input_truncated' as const,
    severity: 'warning' as const,
    message: `${field}[${index}] was cut to ${maxTokens} tokens.`,
    target: { field, index, pointer: `/${field}/${index}` },
    details: {
      model,
      max_tokens: maxTokens,
      ...(originalTokens !== undefined && {
        original_tokens: originalTokens,
        truncated_tokens: originalTokens - maxTokens,
      }),
      truncation_side: 'right' as const,
    },
  };
}

/** smart-models/Smart-Embedder, under its prefix. */
export const smartEmbedderRoutes: Routes = async (app, { services }) => {
  const { config, models, embedder, scorer } = services;
  const metrics = smartEmbedderMetrics();
  speakErrors(app, config.maxBodyBytes, smartEmbedderError);
  const laneOf = (url: string | undefined) =>
    url?.endsWith('/embeddings') ? metrics.embedding : url?.endsWith('/rerank') ? metrics.rerank : undefined;
  // A request that a hook before these refuses (key, rate) is answered, and was never in flight.
  const inFlight = new WeakSet<object>();
  app.addHook('onRequest', async (request) => {
    laneOf(request.routeOptions.url)?.active.inc();
    inFlight.add(request);
  });
  app.addHook('onResponse', async (request, reply) => {
    const lane = laneOf(request.routeOptions.url);
    if (inFlight.has(request)) lane?.active.dec();
    lane?.requests.inc();
    lane?.seconds.observe(reply.elapsedTime / 1000);
    if (reply.statusCode === 429) lane?.rejected.inc({ reason: 'rate_limit' });
    if (reply.statusCode === 503) lane?.rejected.inc({ reason: 'backpressure' });
  });
  app.post(
    '/embeddings',
    {
      schema: {
        summary: 'Dense, sparse and ColBERT vectors of sentences',
        tags: ['smart-embedder'],
        body: Type.Object(
          {
            sentences: Type.Array(Type.String(), { maxItems: config.maxInputs }),
            return_dense: Type.Optional(Type.Boolean()),
            return_sparse: Type.Optional(Type.Boolean()),
            return_colbert: Type.Optional(Type.Boolean()),
            normalize_dense: Type.Optional(Type.Boolean({ description: 'Default false.' })),
            sparse_as_indices: Type.Optional(Type.Boolean({ description: 'Default false.' })),
          },
          { additionalProperties: true },
        ),
        response: smartEmbedderResponses(
          Type.Object({
            data: Type.Array(
              Type.Object({
                id: Type.Union([Type.String(), Type.Integer()]),
                text: Type.String(),
                embeddings: Type.Object({
                  dense: nullable(Type.Array(Type.Number())),
                  sparse: nullable(Type.Object({}, { additionalProperties: true })),
                  colbert: nullable(Type.Array(Type.Array(Type.Number()))),
                }),
              }),
            ),
            model_name: Type.String(),
            dense_model_name: nullable(Type.String()),
            sparse_model_name: nullable(Type.String()),
            colbert_model_name: nullable(Type.String()),
            processing_time_ms: Type.Number(),
            warnings: Type.Array(WarningSchema),
          }),
        ),
      },
    },
    async (request, reply) => {
      const { sentences, normalize_dense = false, sparse_as_indices = false, ...wanted } = request.body;
      const model = await models.resolve(undefined);
      const outputs = [
        ...((wanted.return_dense ?? true) ? ['dense'] : []),
        ...((wanted.return_sparse ?? true) ? ['sparse'] : []),
        ...((wanted.return_colbert ?? true) ? ['colbert'] : []),
      ];
      if (sentences.length === 0)
        throw new TrivecError('empty_input', 'sentences must have at least one text.', {
          param: 'sentences',
        });
      if (outputs.length === 0)
        throw new TrivecError(
          'invalid_request',
          'One of return_dense, return_sparse, return_colbert must be true.',
        );
      const { vectors, warnings, timings } = await embedder.embed(
        model,
        {
          texts: sentences,
          outputs,
          normalize: normalize_dense,
          acceptBlank: true,
          client: clientOf(request),
          nameOf: (index) => `sentences[${index}]`,
        },
        clientGone(reply as FastifyReply),
      );
      metrics.sentences.inc(sentences.length);
      metrics.batchSize.observe(sentences.length);
      metrics.inferenceSeconds.observe(timings.inferMs / 1000);
      reply.type('application/json; charset=utf-8');
      const body = await printed(function* (out) {
        out.raw('{"data":[');
        for (const [index, { dense, sparse, colbert }] of vectors.entries()) {
          out.raw(index > 0 ? ',{"id":' : '{"id":');
          out.uint(index);
          out.raw(',"text":');
          out.json(sentences[index] ?? '');
          out.raw(',"embeddings":{"dense":');
          if (dense === undefined) out.raw('null');
          else out.floats(dense);
          out.raw(',"sparse":');
          if (sparse === undefined) out.raw('null');
          else if (sparse_as_indices) {
            out.raw('{"indices":');
            out.uints(sparse.indices);
            out.raw(',"values":');
            out.floats(sparse.values);
            out.raw('}');
          } else {
            out.raw('{');
            for (const [at, id] of sparse.indices.entries()) {
              out.raw(`${at > 0 ? ',' : ''}"${id}":`);
              out.float32(sparse.values[at] ?? 0);
            }
            out.raw('}');
          }
          out.raw(',"colbert":');
          if (colbert === undefined) out.raw('null');
          else yield* writeColbert(out, colbert);
          out.raw('}}');
          yield;
        }
        out.raw('],"model_name":');
        out.json(model.name);
        for (const output of ['dense', 'sparse', 'colbert'] as const) {
          out.raw(`,"${output}_model_name":`);
          out.json(model.outputs.includes(output) ? model.name : null);
        }
        out.raw(',"processing_time_ms":');
        out.json(Math.round(reply.elapsedTime * 100) / 100);
        out.raw(',"warnings":');
        out.json(
          warnings.flatMap((one) =>
            one.code === 'input_truncated'
              ? [warning('sentences', one.index, model.name, one.maxTokens, one.originalTokens)]
              : [],
          ),
        );
        out.raw('}');
      });
      return (reply as FastifyReply).send(body) as never;
    },
  );

  app.post(
    '/rerank',
    {
      schema: {
        summary: 'Order passages by a query',
        tags: ['smart-embedder'],
        body: Type.Object(
          {
            query: Type.String(),
            passages: Type.Array(Type.String(), { maxItems: config.maxInputs }),
            normalize: Type.Optional(Type.Boolean()),
          },
          { additionalProperties: true },
        ),
        response: smartEmbedderResponses(
          Type.Object({
            results: Type.Array(
              Type.Object({ index: Type.Integer(), passage: Type.String(), score: Type.Number() }),
            ),
            model_name: Type.String(),
            processing_time_ms: Type.Number(),
            warnings: Type.Array(WarningSchema),
          }),
        ),
      },
    },
    async (request, reply) => {
      const { query, passages, normalize = false } = request.body;
      if (query.trim() === '') throw new TrivecError('empty_input', 'query is blank.', { param: 'query' });
      const model = await models.resolveScorer(undefined);
      const scored = await scorer.score(
        model,
        {
          pairs: passages.map((passage) => [query, passage]),
          normalize,
          client: clientOf(request),
          nameOf: (index, side) => (side === 0 ? 'query' : `passages[${index}]`),
        },
        clientGone(reply as FastifyReply),
      );
      metrics.pairs.inc(passages.length);
      metrics.rerankInferenceSeconds.observe(scored.timings.inferMs / 1000);
      return {
        results: ranked(scored.scores).map(({ index, score }) => ({
          index,
          passage: passages[index] ?? '',
          score,
        })),
        model_name: model.name,
        processing_time_ms: Math.round(reply.elapsedTime * 100) / 100,
        warnings: scored.truncated.map((index) => warning('passages', index, model.name, scored.maxTokens)),
      };
    },
  );

  await app.register(smartEmbedderOperations(metrics), { services });
};
