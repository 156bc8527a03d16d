import type { Config } from '@trivec/core/config';
import { Type } from 'typebox';
import { SCORE_MODES } from '../scorer.ts';
import { ModelNameSchema } from './common.ts';
import { TimeoutSchema, TimingsSchema, TruncateSchema, UsageSchema } from './embeddings.ts';

const WeightSchema = Type.Optional(Type.Number({ minimum: 0, maximum: 1000 }));

const options = (config: Pick<Config, 'requestTimeoutMs'>) => ({
  model: Type.Optional({
    ...ModelNameSchema,
    description:
      'A name that GET /models lists. When absent: a reranker if one is served, else the configured model, by its own vectors.',
  }),
  mode: Type.Optional(
    Type.Enum([...SCORE_MODES], {
      description:
        'An embedding model: which vectors are compared (default mixed: all that it has, weighed).',
    }),
  ),
  weights: Type.Optional(
    Type.Object(
      { dense: WeightSchema, sparse: WeightSchema, colbert: WeightSchema },
      {
        additionalProperties: false,
        description: 'With mode mixed; default dense 0.4, sparse 0.2, colbert 0.4.',
      },
    ),
  ),
  normalize: Type.Optional(
    Type.Boolean({ description: 'A reranker: 0 to 1 (the sigmoid of its logit) instead of the logit.' }),
  ),
  instruction: Type.Optional(
    Type.String({ maxLength: 4096, description: 'For rerankers that take one; others ignore it.' }),
  ),
  truncate: Type.Optional(TruncateSchema),
  timeoutMs: Type.Optional(TimeoutSchema(config)),
});

export const rerankBody = (config: Pick<Config, 'maxInputs' | 'requestTimeoutMs'>) =>
  Type.Object(
    {
      query: Type.String({ minLength: 1 }),
      documents: Type.Array(Type.String(), { minItems: 1, maxItems: config.maxInputs }),
      topN: Type.Optional(Type.Integer({ minimum: 1, description: 'The best so many (default all).' })),
      returnDocuments: Type.Optional(Type.Boolean({ description: 'Their texts, too (default false).' })),
      ...options(config),
    },
    { additionalProperties: false },
  );

export const scoreBody = (config: Pick<Config, 'maxInputs' | 'requestTimeoutMs'>) =>
  Type.Object(
    {
      pairs: Type.Array(Type.Array(Type.String(), { minItems: 2, maxItems: 2 }), {
        minItems: 1,
        maxItems: config.maxInputs,
        description: 'Query and passage, in this order: late interaction and rerankers tell them apart.',
      }),
      ...options(config),
    },
    { additionalProperties: false },
  );

const parts = {
  dense: Type.Optional(Type.Number()),
  sparse: Type.Optional(Type.Number()),
  colbert: Type.Optional(Type.Number()),
};

const PartsSchema = Type.Object(parts, {
  description: 'What the score is made of; nothing for a reranker.',
  additionalProperties: false,
});

const PairWarningSchema = Type.Object({
  code: Type.Literal('input_truncated'),
  index: Type.Integer({ description: 'The document or pair.' }),
  maxTokens: Type.Integer(),
});

const common = {
  model: Type.String(),
  usage: UsageSchema,
  warnings: Type.Array(PairWarningSchema),
  timings: TimingsSchema,
};

export const RerankSchema = Type.Object({
  results: Type.Array(
    Type.Object({
      index: Type.Integer({ description: 'Position in `documents`.' }),
      score: Type.Number(),
      scores: PartsSchema,
      document: Type.Optional(Type.String()),
    }),
    { description: 'The best first.' },
  ),
  ...common,
});

export const ScoreSchema = Type.Object({
  scores: Type.Array(Type.Object({ score: Type.Number(), scores: PartsSchema }), {
    description: 'In the order of `pairs`.',
  }),
  ...common,
});
