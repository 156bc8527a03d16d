import { TrivecError } from '@trivec/core/errors';
import type { FastifyReply } from 'fastify';
import { clientGone } from '../clientGone.ts';
import { checkText, estimateTokens } from '../engineCalls.ts';
import { errorResponses } from '../schemas/common.ts';
import { DecodeSchema, decodeBody, TokenizeSchema, tokenizeBody } from '../schemas/tokens.ts';
import type { Routes } from '../services.ts';
import { clientOf } from '../viewer.ts';
import { ENGINE_ERRORS } from './embeddings.ts';

export const tokenRoutes: Routes = async (app, { services: { config, models, calls } }) => {
  app.post(
    '/tokenize',
    {
      schema: {
        summary: 'Texts to the ids that the model reads',
        tags: ['tokens'],
        body: tokenizeBody(config),
        response: { 200: TokenizeSchema, ...errorResponses(...ENGINE_ERRORS) },
      },
    },
    async (request, reply) => {
      const { input, model: name, addSpecialTokens = true } = request.body;
      const texts = typeof input === 'string' ? [input] : input;
      for (const [index, text] of texts.entries())
        checkText(text, `input[${index}]`, config.maxInputChars, { acceptBlank: true });
      const model = await models.resolve(name);
      const { texts: tokenized } = await calls.ask(
        model.fingerprint,
        { kind: 'tokenize', texts, addSpecialTokens },
        { client: clientOf(request), signal: clientGone(reply as FastifyReply) },
        texts.reduce((sum, text) => sum + estimateTokens(text, model.maxTokens), 0),
      );
      return {
        model: model.name,
        data: tokenized.map(({ ids, tokens, originalTokens }, index) => ({
          index,
          ids: [...ids],
          tokens,
          originalTokens,
        })),
      };
    },
  );

  app.post(
    '/decode',
    {
      schema: {
        summary: 'Ids to texts',
        tags: ['tokens'],
        body: decodeBody(config),
        response: { 200: DecodeSchema, ...errorResponses(...ENGINE_ERRORS) },
      },
    },
    async (request, reply) => {
      const { ids, model: name, skipSpecialTokens = true } = request.body;
      const rows = idRows(ids);
      if (rows.length === 0 || rows.every(({ length }) => length === 0))
        throw new TrivecError('empty_input', 'ids must have at least one id.', { param: 'ids' });
      const model = await models.resolve(name);
      const { texts } = await calls.ask(
        model.fingerprint,
        { kind: 'decode', ids: rows, skipSpecialTokens },
        { client: clientOf(request), signal: clientGone(reply as FastifyReply) },
        rows.reduce((sum, { length }) => sum + length, 0),
      );
      return { model: model.name, texts };
    },
  );
};

/** One row of ids, or several: as rows. */
export function idRows(ids: readonly (number | readonly number[])[]): (readonly number[])[] {
  return ids.every((id) => typeof id === 'number') ? [ids] : (ids as (readonly number[])[]);
}
