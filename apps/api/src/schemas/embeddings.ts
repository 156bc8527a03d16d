import type { Config } from '@trivec/core/config';
import { Type } from 'typebox';
import { ColbertSchema, ModelNameSchema, OutputsSchema, SparseSchema, WarningSchema } from './common.ts';

/** The OpenAI route takes further fields and ignores them, as clients of it send them; the native one names a typing mistake. */
export const embeddingsBody = (config: Pick<Config, 'maxInputs'>, additionalProperties: boolean) =>
  Type.Object(
    {
      input: Type.Union(
        [Type.String(), Type.Array(Type.String(), { minItems: 1, maxItems: config.maxInputs })],
        {
          description: 'One text, or several.',
        },
      ),
      model: Type.Optional(ModelNameSchema),
      outputs: Type.Optional(OutputsSchema),
      encoding_format: Type.Optional(
        Type.Enum(['float', 'base64'], {
          description: 'Without `outputs` only. base64: little-endian float32. Default float.',
        }),
      ),
      dimensions: Type.Optional(
        Type.Integer({ minimum: 1, description: 'Matryoshka cut of the dense vector, renormalised.' }),
      ),
      normalize: Type.Optional(Type.Boolean({ description: 'L2-normalise dense (default true).' })),
      truncate: Type.Optional(
        Type.Boolean({
          description:
            'False: a text over the length of the model is 422 (default true: it is cut, with a warning).',
        }),
      ),
      truncationDirection: Type.Optional(
        Type.Enum(['right', 'left'], { description: 'Which end is cut (default right).' }),
      ),
      user: Type.Optional(Type.String({ description: 'Ignored.' })),
    },
    { additionalProperties },
  );

const UsageSchema = Type.Object({ prompt_tokens: Type.Integer(), total_tokens: Type.Integer() });

const OpenAiSchema = Type.Object(
  {
    object: Type.Literal('list'),
    data: Type.Array(
      Type.Object({
        object: Type.Literal('embedding'),
        index: Type.Integer(),
        embedding: Type.Union([Type.Array(Type.Number()), Type.String({ description: 'base64' })]),
      }),
    ),
    model: Type.String(),
    usage: UsageSchema,
    warnings: Type.Optional(Type.Array(WarningSchema)),
  },
  { description: 'Without `outputs`: as OpenAI answers.' },
);

const NativeSchema = Type.Object(
  {
    object: Type.Literal('list'),
    data: Type.Array(
      Type.Object(
        {
          index: Type.Integer(),
          tokens: Type.Integer(),
          dense: Type.Optional(Type.Array(Type.Number())),
          sparse: Type.Optional(SparseSchema),
          colbert: Type.Optional(ColbertSchema),
        },
        { additionalProperties: false },
      ),
    ),
    model: Type.String(),
    usage: UsageSchema,
    warnings: Type.Array(WarningSchema),
    timings: Type.Object(
      { queueMs: Type.Number(), tokenizeMs: Type.Number(), inferMs: Type.Number() },
      { description: 'Milliseconds: waiting, tokenising, on the device.' },
    ),
  },
  { description: 'With `outputs`.' },
);

export const EmbeddingsSchema = Type.Union([OpenAiSchema, NativeSchema]);
