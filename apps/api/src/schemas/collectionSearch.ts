import { CollectionNameSchema, TargetSchema } from '@trivec/core/sinks/qdrant/destination';
import { QDRANT_SEARCH_MODES } from '@trivec/core/sinks/qdrant/search';
import { Type } from 'typebox';
import { ModelNameSchema, nullable, WarningSchema } from './common.ts';

export const collectionSearchBody = (maxInputChars: number) =>
  Type.Object(
    {
      target: Type.Optional(TargetSchema),
      collection: CollectionNameSchema,
      query: Type.String({ minLength: 1, maxLength: maxInputChars }),
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, description: 'Default 10.' })),
      filter: Type.Optional(
        Type.Record(Type.String(), Type.Unknown(), { description: "Qdrant's own, passed on as it is." }),
      ),
      mode: Type.Optional(
        Type.Enum([...QDRANT_SEARCH_MODES], {
          description:
            'hybrid (default): dense and sparse fused by reciprocal rank; rerank: those ordered by ColBERT.',
        }),
      ),
      model: Type.Optional(ModelNameSchema),
    },
    { additionalProperties: false },
  );

export const CollectionSearchSchema = Type.Object({
  hits: Type.Array(
    Type.Object({
      id: Type.Union([Type.String(), Type.Integer()], {
        description: "The document's; the point's where trivec did not write it.",
      }),
      chunk: Type.Integer(),
      score: Type.Number(),
      text: nullable(Type.String({ description: 'Null where the texts were not sent.' })),
      payload: Type.Record(Type.String(), Type.Unknown()),
    }),
    { description: 'Best first.' },
  ),
  mode: Type.Enum([...QDRANT_SEARCH_MODES]),
  warnings: Type.Array(WarningSchema),
});
