import { TrivecError } from '@trivec/core/errors';
import { denseScore } from '@trivec/core/vectors/scores';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Static, Type } from 'typebox';
import { clientGone } from '../../clientGone.ts';
import { type Embedded, promptOf } from '../../embedder.ts';
import { speakErrors } from '../../plugins/errors.ts';
import { InputsSchema } from '../../schemas/embeddings.ts';
import { ranked } from '../../scorer.ts';
import type { Routes } from '../../services.ts';
import { type Inputs, textInputs } from '../../textInputs.ts';
import type { Timings } from '../../timings.ts';
import { printed, writeColbert } from '../../vectorBody.ts';
import { clientOf } from '../../viewer.ts';
import { DirectionSchema, direction } from './peer.ts';
import { teiMetrics } from './peerMetrics.ts';
import { teiError, teiResponses } from './teiErrors.ts';
import { teiOpenAi, teiOperations } from './teiOperations.ts';
import { teiTokens } from './teiTokens.ts';

const embedFields = {
  inputs: InputsSchema,
  truncate: Type.Optional(Type.Boolean({ description: 'Default false: a text that is too long is 422.' })),
  truncation_direction: DirectionSchema,
  prompt_name: Type.Optional(Type.String()),
};

const EmbedBody = Type.Object(
  {
    ...embedFields,
    normalize: Type.Optional(Type.Boolean()),
    dimensions: Type.Optional(Type.Integer({ minimum: 1 })),
  },
  { additionalProperties: true },
);
const TokensBody = Type.Object(embedFields, { additionalProperties: true });

const Vector = Type.Array(Type.Number());

/** text-embeddings-inference 1.9, under its prefix. */
export const teiRoutes: Routes = async (app, { services }) => {
  speakErrors(app, services.config.maxBodyBytes, teiError);
  const metrics = teiMetrics();
  app.addHook('onResponse', async (request, reply) => metrics.observe(request, reply));
  await app.register(teiOperations(metrics), { services });
  await app.register(teiOpenAi, { services });
  await app.register(teiTokens, { services });
  await app.register(teiVectors, { services });
};

const teiVectors: Routes = async (app, { services }) => {
  const { config, models, embedder, scorer } = services;
  async function embed(
    request: FastifyRequest,
    reply: FastifyReply,
    body: Static<typeof EmbedBody>,
    output: 'dense' | 'sparse' | 'colbert',
  ): Promise<Embedded> {
    const model = await models.resolve(undefined);
    const embedded = await embedder.embed(
      model,
      {
        texts: textInputs(body.inputs, config.maxInputs, 'inputs'),
        outputs: [output],
        truncate: body.truncate ?? false,
        truncationDirection: direction(body.truncation_direction),
        normalize: body.normalize,
        dimensions: output === 'dense' ? body.dimensions : undefined,
        prompt: promptOf({ promptName: body.prompt_name }, model),
        acceptBlank: true,
        client: clientOf(request),
        nameOf: (index) => `inputs[${index}]`,
      },
      clientGone(reply),
    );
    timingHeaders(reply, embedded.timings, embedded.tokens, charsOf(body.inputs));
    reply.type('application/json; charset=utf-8');
    return embedded;
  }

  const tags = ['tei'];
  app.post(
    '/embed',
    {
      schema: { summary: 'Dense vectors', tags, body: EmbedBody, response: teiResponses(Type.Array(Vector)) },
    },
    async (request, reply) => {
      const { vectors } = await embed(request, reply as FastifyReply, request.body, 'dense');
      const body = await printed(function* (out) {
        for (const [index, { dense }] of vectors.entries()) {
          out.raw(index > 0 ? ',' : '[');
          out.floats(dense ?? []);
          yield;
        }
        out.raw(']');
      });
      return (reply as FastifyReply).send(body) as never;
    },
  );

  app.post(
    '/embed_all',
    {
      schema: {
        summary: 'A vector a token: the rows of late interaction, CLS left out',
        tags,
        body: TokensBody,
        response: teiResponses(Type.Array(Type.Array(Vector))),
      },
    },
    async (request, reply) => {
      const { vectors } = await embed(request, reply as FastifyReply, request.body, 'colbert');
      const body = await printed(function* (out) {
        for (const [index, { colbert }] of vectors.entries()) {
          out.raw(index > 0 ? ',' : '[');
          yield* writeColbert(out, colbert ?? { rows: 0, dims: 0, data: new Float32Array() });
        }
        out.raw(']');
      });
      return (reply as FastifyReply).send(body) as never;
    },
  );

  app.post(
    '/embed_sparse',
    {
      schema: {
        summary: 'Sparse vectors',
        tags,
        body: TokensBody,
        response: teiResponses(
          Type.Array(Type.Array(Type.Object({ index: Type.Integer(), value: Type.Number() }))),
        ),
      },
    },
    async (request, reply) => {
      const { vectors } = await embed(request, reply as FastifyReply, request.body, 'sparse');
      const body = await printed(function* (out) {
        for (const [text, { sparse }] of vectors.entries()) {
          out.raw(text > 0 ? ',[' : '[[');
          for (const [at, index] of (sparse?.indices ?? new Uint32Array()).entries()) {
            out.raw(at > 0 ? ',{"index":' : '{"index":');
            out.uint(index);
            out.raw(',"value":');
            out.float32(sparse?.values[at] ?? 0);
            out.raw('}');
          }
          out.raw(']');
          yield;
        }
        out.raw(']');
      });
      return (reply as FastifyReply).send(body) as never;
    },
  );

  app.post(
    '/rerank',
    {
      schema: {
        summary: 'Order texts by a query',
        tags,
        body: Type.Object(
          {
            query: Type.String(),
            texts: Type.Array(Type.String(), { maxItems: config.maxInputs }),
            truncate: Type.Optional(Type.Boolean()),
            truncation_direction: DirectionSchema,
            raw_scores: Type.Optional(Type.Boolean()),
            return_text: Type.Optional(Type.Boolean()),
          },
          { additionalProperties: true },
        ),
        response: teiResponses(
          Type.Array(
            Type.Object({
              index: Type.Integer(),
              score: Type.Number(),
              text: Type.Optional(Type.String()),
            }),
          ),
        ),
      },
    },
    async (request, reply) => {
      const { query, texts, truncate = false, raw_scores = false, return_text = false } = request.body;
      const model = await models.resolveScorer(undefined);
      const { scores, timings, tokens } = await scorer.score(
        model,
        {
          pairs: texts.map((text) => [query, text]),
          normalize: !raw_scores,
          truncate,
          client: clientOf(request),
          nameOf: (index, side) => (side === 0 ? 'query' : `texts[${index}]`),
        },
        clientGone(reply as FastifyReply),
      );
      timingHeaders(reply as FastifyReply, timings, tokens, charsOf(texts));
      return ranked(scores).map(({ index, score }) => ({
        index,
        score,
        ...(return_text && { text: texts[index] ?? '' }),
      }));
    },
  );

  app.post(
    '/similarity',
    {
      schema: {
        summary: 'Cosines of one sentence with others',
        tags,
        body: Type.Object({
          inputs: Type.Object({
            source_sentence: Type.String(),
            sentences: Type.Array(Type.String(), { maxItems: config.maxInputs }),
          }),
          parameters: Type.Optional(
            Type.Object({
              truncate: Type.Optional(Type.Boolean()),
              truncation_direction: DirectionSchema,
              prompt_name: Type.Optional(Type.String()),
            }),
          ),
        }),
        response: teiResponses(Vector),
      },
    },
    async (request, reply) => {
      const { inputs, parameters = {} } = request.body;
      if (inputs.sentences.length === 0)
        throw new TrivecError('empty_input', 'inputs.sentences must have at least one text.', {
          param: 'inputs.sentences',
        });
      const model = await models.resolve(undefined);
      const embedded = await embedder.embed(
        model,
        {
          texts: [inputs.source_sentence, ...inputs.sentences],
          outputs: ['dense'],
          truncate: parameters.truncate ?? false,
          truncationDirection: direction(parameters.truncation_direction),
          prompt: promptOf({ promptName: parameters.prompt_name }, model),
          acceptBlank: true,
          client: clientOf(request),
          nameOf: (index) => (index === 0 ? 'inputs.source_sentence' : `inputs.sentences[${index - 1}]`),
        },
        clientGone(reply as FastifyReply),
      );
      timingHeaders(reply as FastifyReply, embedded.timings, embedded.tokens, charsOf(inputs.sentences));
      const [source, ...others] = embedded.vectors.map(({ dense }) => dense ?? new Float32Array());
      return others.map((other) => denseScore(source ?? new Float32Array(), other));
    },
  );
};

function timingHeaders(reply: FastifyReply, timings: Timings, tokens: number, characters: number): void {
  const whole = (ms: number) => String(Math.round(ms));
  reply.headers({
    'x-compute-type': 'trivec',
    'x-compute-time': whole(reply.elapsedTime),
    'x-compute-characters': String(characters),
    'x-compute-tokens': String(tokens),
    'x-total-time': whole(reply.elapsedTime),
    'x-tokenization-time': whole(timings.tokenizeMs),
    'x-queue-time': whole(timings.queueMs),
    'x-inference-time': whole(timings.inferMs),
  });
}

function charsOf(inputs: Inputs): number {
  if (typeof inputs === 'string') return inputs.length;
  return inputs.reduce<number>((sum, one) => sum + (typeof one === 'string' ? one.length : 0), 0);
}
