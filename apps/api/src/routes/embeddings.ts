import type { ErrorCode } from '@trivec/core/errors';
import type { FastifyReply } from 'fastify';
import { clientGone } from '../clientGone.ts';
import { type Embedded, type EmbedRequest, promptOf } from '../embedder.ts';
import { errorResponses } from '../schemas/common.ts';
import { EmbeddingsSchema, embeddingsBody } from '../schemas/embeddings.ts';
import type { Routes, Services } from '../services.ts';
import { type Inputs, textInputs } from '../textInputs.ts';
import { vectorBody } from '../vectorBody.ts';
import { clientOf } from '../viewer.ts';

/** What any request to an engine may end in. */
export const ENGINE_ERRORS: readonly ErrorCode[] = [
  'invalid_json',
  'empty_input',
  'unknown_output',
  'unknown_model',
  'body_too_large',
  'unsupported_media_type',
  'text_too_long',
  'tokenizer_failed',
  'overloaded',
  'model_failed',
  'model_unavailable',
  'deadline_exceeded',
];

/** `/embeddings` of trivec itself; OpenAI's path is the same handler with its error object (compat/openai.ts). */
export const embeddingRoutes: Routes = async (app, { services }) => {
  app.post(
    '/embeddings',
    {
      schema: {
        summary: 'Embed texts now',
        description:
          'Without `outputs` the answer is that of OpenAI; with `outputs` the items carry the vectors by name.',
        tags: ['embeddings'],
        body: embeddingsBody(services.config, false),
        response: { 200: EmbeddingsSchema, ...errorResponses(...ENGINE_ERRORS) },
      },
    },
    async (request, reply) => {
      reply.type('application/json; charset=utf-8');
      const body = await embeddingsAnswer(
        services,
        request.body,
        clientOf(request),
        clientGone(reply as FastifyReply),
      );
      // Printed already: past the schema's serialiser.
      return (reply as FastifyReply).send(body) as never;
    },
  );
};

export interface EmbeddingsBody extends Omit<EmbedRequest, 'texts' | 'outputs' | 'nameOf' | 'client'> {
  input: Inputs;
  model?: string;
  outputs?: string[];
  encoding_format?: 'float' | 'base64' | 'int8' | 'uint8' | 'binary' | 'ubinary';
  sparseFormat?: 'indices' | 'tokens';
  inputType?: 'query' | 'document';
  prompt?: string;
  promptName?: string;
  timings?: boolean;
  user?: string;
}

/** The one handler behind `/embeddings` and `/v1/embeddings`. */
export async function embeddingsAnswer(
  { config, models, embedder, calls }: Services,
  body: EmbeddingsBody,
  client: string,
  signal: AbortSignal,
) {
  const { input, model: name, outputs, encoding_format = 'float', sparseFormat, timings } = body;
  const model = await models.resolve(name);
  // Field by field: OpenAI's path takes further fields, and none of them may mean something inside.
  const { normalize, dimensions, truncate, truncationDirection, partial, timeoutMs, acceptBlank } = body;
  const embedded = await embedder.embed(
    model,
    {
      texts: textInputs(input, config.maxInputs),
      outputs: outputs ?? ['dense'],
      prompt: promptOf(body, model),
      normalize,
      dimensions,
      truncate,
      truncationDirection,
      partial,
      timeoutMs,
      acceptBlank,
      client,
    },
    signal,
  );
  const tokenNames =
    sparseFormat === 'tokens' ? await namesOfTokens(calls, embedded, client, signal) : undefined;
  return vectorBody(embedded, {
    format: encoding_format,
    shape: outputs === undefined ? 'openai' : 'native',
    withTimings: timings ?? outputs !== undefined,
    tokenNames,
  });
}

/** The tokens of all sparse vectors as text, each asked for once. */
async function namesOfTokens(
  calls: Services['calls'],
  { model, vectors }: Embedded,
  client: string,
  signal: AbortSignal,
): Promise<Map<number, string>> {
  const ids = [
    ...new Set(vectors.flatMap(({ sparse }) => (sparse === undefined ? [] : [...sparse.indices]))),
  ];
  if (ids.length === 0) return new Map();
  const task = { kind: 'decode' as const, ids: ids.map((id) => [id]), skipSpecialTokens: false };
  const { texts } = await calls.ask(model.fingerprint, task, { client, signal });
  return new Map(ids.map((id, index) => [id, texts[index] ?? '']));
}
