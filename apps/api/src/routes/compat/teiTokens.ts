import { TrivecError } from '@trivec/core/errors';
import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { clientGone } from '../../clientGone.ts';
import { promptOf } from '../../embedder.ts';
import { checkText } from '../../engineCalls.ts';
import { nullable } from '../../schemas/common.ts';
import type { Routes } from '../../services.ts';
import { clientOf } from '../../viewer.ts';
import { idRows } from '../tokens.ts';
import { teiResponses } from './teiErrors.ts';
import { locate } from './tokenPlaces.ts';

const tags = ['tei'];

const TokenIdSchema = Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 });

export const teiTokens: Routes = async (app, { services: { config, models, calls } }) => {
  app.post(
    '/tokenize',
    {
      schema: {
        summary: 'Texts to tokens',
        tags,
        body: Type.Object(
          {
            inputs: Type.Union([Type.String(), Type.Array(Type.String(), { maxItems: config.maxInputs })]),
            add_special_tokens: Type.Optional(Type.Boolean()),
            prompt_name: Type.Optional(Type.String()),
          },
          { additionalProperties: true },
        ),
        response: teiResponses(
          Type.Array(
            Type.Array(
              Type.Object({
                id: Type.Integer(),
                text: Type.String(),
                special: Type.Boolean(),
                start: nullable(Type.Integer()),
                stop: nullable(Type.Integer()),
              }),
            ),
          ),
        ),
      },
    },
    async (request, reply) => {
      const { inputs, add_special_tokens = true, prompt_name } = request.body;
      const model = await models.resolve(undefined);
      const prompt = promptOf({ promptName: prompt_name }, model) ?? '';
      const texts = [inputs].flat().map((text) => prompt + text);
      if (texts.length === 0)
        throw new TrivecError('empty_input', 'inputs must have at least one text.', { param: 'inputs' });
      for (const [index, text] of texts.entries())
        if (text !== '') checkText(text, `inputs[${index}]`, config.maxInputChars, { acceptBlank: true });
      const caller = { client: clientOf(request), signal: clientGone(reply as FastifyReply) };
      const ask = (addSpecialTokens: boolean) =>
        calls.ask(model.fingerprint, { kind: 'tokenize', texts, addSpecialTokens }, caller);
      const bare = (await ask(false)).texts;
      const framed = add_special_tokens ? (await ask(true)).texts : bare;
      return framed.map((text, index) =>
        locate(texts[index] ?? '', text, bare[index]?.ids ?? new Int32Array()),
      );
    },
  );

  app.post(
    '/decode',
    {
      schema: {
        summary: 'Ids to texts',
        tags,
        body: Type.Object(
          {
            ids: Type.Union([Type.Array(TokenIdSchema), Type.Array(Type.Array(TokenIdSchema))]),
            skip_special_tokens: Type.Optional(Type.Boolean()),
          },
          { additionalProperties: true },
        ),
        response: teiResponses(Type.Array(Type.String())),
      },
    },
    async (request, reply) => {
      const { ids, skip_special_tokens = true } = request.body;
      if (ids.length === 0)
        throw new TrivecError('empty_input', 'ids must have at least one id.', { param: 'ids' });
      const model = await models.resolve(undefined);
      const task = { kind: 'decode' as const, ids: idRows(ids), skipSpecialTokens: skip_special_tokens };
      const caller = { client: clientOf(request), signal: clientGone(reply as FastifyReply) };
      return (await calls.ask(model.fingerprint, task, caller)).texts;
    },
  );
};
