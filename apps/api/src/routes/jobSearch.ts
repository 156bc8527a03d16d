import { TrivecError } from '@trivec/core/errors';
import type { HitExplanation, SearchMode } from '@trivec/core/jobs/serviceTypes';
import type { Output } from '@trivec/core/vectors/types';
import type { FastifyReply } from 'fastify';
import { clientGone } from '../clientGone.ts';
import { estimateTokens } from '../engineCalls.ts';
import { errorResponses } from '../schemas/common.ts';
import { SearchResultSchema, searchBody } from '../schemas/jobResults.ts';
import { JobParams } from '../schemas/jobs.ts';
import type { Routes } from '../services.ts';
import { clientOf, viewerOf } from '../viewer.ts';

const DEFAULT_LIMIT = 10;

export const jobSearchRoutes: Routes = async (
  app,
  { services: { config, jobs, models, embedder, calls } },
) => {
  app.post(
    '/jobs/:id/search',
    {
      schema: {
        summary: 'Ask a question of a corpus',
        description: 'Exact search over the finished part of a job, by the vectors that the job has.',
        tags: ['jobs'],
        params: JobParams,
        body: searchBody(config.maxInputChars),
        response: {
          200: SearchResultSchema,
          ...errorResponses(
            'invalid_json',
            'job_not_found',
            'body_too_large',
            'unsupported_media_type',
            'model_unavailable',
            'storage_unavailable',
            'deadline_exceeded',
          ),
        },
      },
    },
    async (request, reply) => {
      const { query, mode = 'hybrid', limit = DEFAULT_LIMIT, explain = false } = request.body;
      const signal = clientGone(reply as FastifyReply);
      const job = await jobs.get(request.params.id, viewerOf(request));
      // A revision apart would compare vectors of two spaces.
      const model = await models.resolveFingerprint(job.model);
      const embedded = await embedder.embed(
        model,
        {
          texts: [query],
          outputs: queryOutputs(mode, job.options.outputs),
          dimensions: job.options.dimensions,
          normalize: job.options.normalize,
          returnTokenIds: explain,
          client: clientOf(request),
          nameOf: () => 'query',
        },
        signal,
      );
      const [vectors] = embedded.vectors;
      const tokenIds = embedded.tokenIds?.[0];
      if (vectors === undefined) throw new TrivecError('internal', 'The query got no vectors.');
      const result = await jobs.search(request.params.id, viewerOf(request), {
        vectors,
        mode,
        limit,
        explain,
        signal,
        ...(tokenIds !== undefined && { tokenIds }),
      });
      const explanations = result.hits.map((hit) => hit.explanation);
      const nameOf = await tokenNames(explanations);
      const hitTokens = await documentTokens(
        result.hits.flatMap(({ text, explanation }) =>
          explanation?.colbert === undefined ? [] : [(job.options.prompt ?? '') + text],
        ),
      );
      let next = 0;
      return {
        ...result,
        hits: result.hits.map(({ explanation, ...hit }) => ({
          ...hit,
          ...(explanation !== undefined && {
            explanation: withNames(explanation, nameOf, explanation.colbert && hitTokens[next++]),
          }),
        })),
        warnings: embedded.warnings,
      };

      /** The tokens as text, asked for once each. */
      async function tokenNames(explanations: (HitExplanation | undefined)[]): Promise<Map<number, string>> {
        const ids = new Set<number>();
        for (const explanation of explanations) {
          for (const { tokenId } of explanation?.sparse ?? []) ids.add(tokenId);
          for (const { queryTokenId } of explanation?.colbert ?? []) {
            if (queryTokenId !== undefined) ids.add(queryTokenId);
          }
        }
        if (ids.size === 0) return new Map();
        const rows = [...ids].map((id) => [id]);
        const { texts } = await calls.ask(
          model.fingerprint,
          { kind: 'decode', ids: rows, skipSpecialTokens: false },
          { client: clientOf(request), signal },
        );
        return new Map([...ids].map((id, index) => [id, texts[index] ?? '']));
      }

      /** What the worker made of each text: the same tokenizer cuts it at the same length, so that row i is token i + 1. */
      async function documentTokens(texts: readonly string[]): Promise<string[][]> {
        if (texts.length === 0) return [];
        const replies = await calls.askParts(
          model,
          texts,
          (text) => estimateTokens(text, model.maxTokens),
          (part) => ({ kind: 'tokenize' as const, texts: part, addSpecialTokens: true }),
          { client: clientOf(request), signal },
          (index) => `hit ${index}`,
        );
        return replies.flatMap((reply) => reply.texts.map(({ tokens }) => tokens));
      }
    },
  );
};

/**
 * What the query must be embedded as. In a large job late interaction only re-ranks the best of a cheaper output,
 * so that output is made, too: in the same forward pass it costs nothing.
 */
function queryOutputs(mode: SearchMode, outputs: readonly Output[]): readonly Output[] {
  if (mode === 'hybrid') return outputs;
  if (outputs.includes(mode)) {
    const first =
      mode === 'colbert' ? (['dense', 'sparse'] as const).find((one) => outputs.includes(one)) : undefined;
    return first === undefined ? [mode] : [mode, first];
  }
  throw new TrivecError(
    'invalid_request',
    `mode ${mode} needs an output that this job lacks; it has ${outputs.join(', ')}.`,
    {
      param: 'mode',
    },
  );
}

function withNames(
  { sparse, colbert }: HitExplanation,
  names: ReadonlyMap<number, string>,
  documentTokens: readonly string[] = [],
) {
  return {
    ...(sparse !== undefined && {
      sparse: sparse.map((term) => ({ ...term, token: names.get(term.tokenId) ?? '' })),
    }),
    ...(colbert !== undefined && {
      colbert: colbert.map((match) => {
        // CLS has no row.
        const documentToken = documentTokens[match.documentIndex + 1];
        return {
          ...match,
          ...(match.queryTokenId !== undefined && { queryToken: names.get(match.queryTokenId) ?? '' }),
          ...(documentToken !== undefined && { documentToken }),
        };
      }),
    }),
  };
}
