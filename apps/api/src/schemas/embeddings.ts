import type { Config } from '@trivec/core/config';
import { ENCODING_FORMATS } from '@trivec/core/vectors/encodings';
import { Type } from 'typebox';
import { ColbertSchema, ModelNameSchema, OutputsSchema, SparseSchema, WarningSchema } from './common.ts';

const MAX_TOKEN_IDS = 1_000_000;

const TokenIdSchema = Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 });

/** Ids of the model's own tokenizer, not of OpenAI's. */
export const TokenIdsSchema = (maxItems: number) => Type.Array(TokenIdSchema, { maxItems });

/**
 * A text, a row of token ids, or several of either. One array for all, so that a mistake in it is named where it is;
 * how many texts there may be is checked with what the numbers mean (textInputs.ts).
 */
export const InputsSchema = Type.Union([
  Type.String(),
  Type.Array(Type.Union([Type.String(), TokenIdSchema, Type.Array(TokenIdSchema)]), {
    maxItems: MAX_TOKEN_IDS,
  }),
]);

export const TimeoutSchema = (config: Pick<Config, 'requestTimeoutMs'>) =>
  Type.Integer({
    minimum: 1,
    description: `Milliseconds after which the answer is 504; at most ${config.requestTimeoutMs}.`,
  });

export const TruncateSchema = Type.Boolean({
  description: 'False: a text over the length of the model is 422 (default true: it is cut, with a warning).',
});

const MAX_PROMPT_CHARS = 10_000;

/** The OpenAI route takes further fields and ignores them, as clients of it send them; the native one names a typing mistake. */
export const embeddingsBody = (config: Pick<Config, 'requestTimeoutMs'>, additionalProperties: boolean) =>
  Type.Object(
    {
      input: {
        ...InputsSchema,
        description:
          'One text, or several, at most MAX_INPUTS; or token ids of the model itself (POST /tokenize), which are decoded and embedded as that text.',
      } as typeof InputsSchema,
      model: Type.Optional(ModelNameSchema),
      outputs: Type.Optional(OutputsSchema),
      encoding_format: Type.Optional(
        Type.Enum([...ENCODING_FORMATS], {
          description:
            'Of the dense vector. base64: little-endian float32. int8, uint8: one scale a vector, given beside it. ' +
            'binary, ubinary: one bit a dimension, as signed or unsigned bytes. Default float.',
        }),
      ),
      sparseFormat: Type.Optional(
        Type.Enum(['indices', 'tokens'], {
          description: 'tokens: `{id, token, weight}` a token, the heaviest first. Default indices.',
        }),
      ),
      dimensions: Type.Optional(
        Type.Integer({ minimum: 1, description: 'Matryoshka cut of the dense vector, renormalised.' }),
      ),
      normalize: Type.Optional(Type.Boolean({ description: 'L2-normalise dense (default true).' })),
      truncate: Type.Optional(TruncateSchema),
      truncationDirection: Type.Optional(
        Type.Enum(['right', 'left'], { description: 'Which end is cut (default right).' }),
      ),
      inputType: Type.Optional(
        Type.Enum(['query', 'document'], {
          description:
            'Writes before every text what the model wants before this type, if it wants anything.',
        }),
      ),
      prompt: Type.Optional(
        Type.String({ maxLength: MAX_PROMPT_CHARS, description: 'Written before every text.' }),
      ),
      promptName: Type.Optional(
        Type.String({ minLength: 1, maxLength: 64, description: "One of the model's prompts, by its name." }),
      ),
      partial: Type.Optional(
        Type.Boolean({
          description:
            'True: a text that cannot be embedded has an `error` in its place, beside the vectors of the others.',
        }),
      ),
      timeoutMs: Type.Optional(TimeoutSchema(config)),
      timings: Type.Optional(
        Type.Boolean({ description: 'Where the time went; with `outputs` the default is true.' }),
      ),
      user: Type.Optional(Type.String({ description: 'Ignored.' })),
    },
    { additionalProperties },
  );

export const UsageSchema = Type.Object({ prompt_tokens: Type.Integer(), total_tokens: Type.Integer() });

export const TimingsSchema = Type.Object(
  { queueMs: Type.Number(), tokenizeMs: Type.Number(), inferMs: Type.Number() },
  { description: 'Milliseconds: waiting, tokenising, on the device.' },
);

const ItemErrorSchema = Type.Object(
  { code: Type.String(), message: Type.String() },
  { description: 'With `partial`: why this text has no vectors.' },
);

const DenseSchema = Type.Union([Type.Array(Type.Number()), Type.String({ description: 'base64' })]);

/** What OpenAI answers, and everybody who speaks like it; with dimensions or base64 at most. */
export const OpenAiListSchema = Type.Object({
  object: Type.Literal('list'),
  data: Type.Array(
    Type.Object({ object: Type.Literal('embedding'), index: Type.Integer(), embedding: DenseSchema }),
  ),
  model: Type.String(),
  usage: UsageSchema,
});

const ScaleSchema = Type.Number({
  description: 'int8, uint8: x ≈ scale · value, less 128 first for uint8.',
});

const OpenAiSchema = Type.Object(
  {
    object: Type.Literal('list'),
    data: Type.Array(
      Type.Object(
        {
          object: Type.Literal('embedding'),
          index: Type.Integer(),
          embedding: Type.Optional(DenseSchema),
          scale: Type.Optional(ScaleSchema),
          error: Type.Optional(ItemErrorSchema),
        },
        { additionalProperties: false },
      ),
    ),
    model: Type.String(),
    usage: UsageSchema,
    warnings: Type.Optional(Type.Array(WarningSchema)),
    timings: Type.Optional(TimingsSchema),
  },
  { description: 'Without `outputs`: as OpenAI answers.' },
);

const SparseTokensSchema = Type.Array(
  Type.Object({ id: Type.Integer(), token: Type.String(), weight: Type.Number() }),
  { description: 'With sparseFormat tokens.' },
);

const NativeSchema = Type.Object(
  {
    object: Type.Literal('list'),
    data: Type.Array(
      Type.Object(
        {
          index: Type.Integer(),
          tokens: Type.Integer(),
          dense: Type.Optional(DenseSchema),
          scale: Type.Optional(ScaleSchema),
          sparse: Type.Optional(Type.Union([SparseSchema, SparseTokensSchema])),
          colbert: Type.Optional(ColbertSchema),
          error: Type.Optional(ItemErrorSchema),
        },
        { additionalProperties: false },
      ),
    ),
    model: Type.String(),
    usage: UsageSchema,
    warnings: Type.Array(WarningSchema),
    timings: Type.Optional(TimingsSchema),
  },
  { description: 'With `outputs`.' },
);

export const EmbeddingsSchema = Type.Union([OpenAiSchema, NativeSchema]);
