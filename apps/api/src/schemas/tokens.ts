import type { Config } from '@trivec/core/config';
import { Type } from 'typebox';
import { ModelNameSchema } from './common.ts';
import { TokenIdsSchema } from './embeddings.ts';

export const tokenizeBody = (config: Pick<Config, 'maxInputs'>) =>
  Type.Object(
    {
      input: Type.Union([
        Type.String(),
        Type.Array(Type.String(), { minItems: 1, maxItems: config.maxInputs }),
      ]),
      model: Type.Optional(ModelNameSchema),
      addSpecialTokens: Type.Optional(
        Type.Boolean({ description: 'What the model frames a text with (default true).' }),
      ),
    },
    { additionalProperties: false },
  );

export const TokenizeSchema = Type.Object({
  model: Type.String(),
  data: Type.Array(
    Type.Object({
      index: Type.Integer(),
      ids: Type.Array(Type.Integer()),
      tokens: Type.Array(Type.String()),
      originalTokens: Type.Integer({ description: 'More than there are ids: the model cuts this text.' }),
    }),
  ),
});

export const decodeBody = (config: Pick<Config, 'maxInputs'>) =>
  Type.Object(
    {
      ids: Type.Union(
        [
          TokenIdsSchema(100_000),
          Type.Array(TokenIdsSchema(100_000), { minItems: 1, maxItems: config.maxInputs }),
        ],
        { description: 'Of one text, or of several.' },
      ),
      model: Type.Optional(ModelNameSchema),
      skipSpecialTokens: Type.Optional(Type.Boolean({ description: 'Default true.' })),
    },
    { additionalProperties: false },
  );

export const DecodeSchema = Type.Object({ model: Type.String(), texts: Type.Array(Type.String()) });
