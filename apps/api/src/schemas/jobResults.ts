/** What a client reads and searches in what a job has stored. */
import { SEARCH_MODES } from '@trivec/core/jobs/serviceTypes';
import { Type } from 'typebox';
import { ColbertSchema, SparseSchema, WarningSchema } from './common.ts';

export const ResultsQuery = Type.Object(
  {
    cursor: Type.Optional(
      Type.String({ minLength: 1, maxLength: 512, description: '`x-next-cursor` of the page before.' }),
    ),
    limit: Type.Optional(Type.Integer({ minimum: 1, description: 'Rows; all there are when absent.' })),
  },
  { additionalProperties: false },
);

export const ResultLineSchema = Type.Object({
  id: Type.String(),
  chunk: Type.Integer(),
  tokens: Type.Integer(),
  start: Type.Optional(
    Type.Integer({ description: 'With chunking: the chunk is text.slice(start, end), in UTF-16 units.' }),
  ),
  end: Type.Optional(Type.Integer()),
  dense: Type.Optional(Type.Array(Type.Number())),
  sparse: Type.Optional(SparseSchema),
  colbert: Type.Optional(ColbertSchema),
});

export const searchBody = (maxInputChars: number) =>
  Type.Object(
    {
      query: Type.String({ minLength: 1, maxLength: maxInputChars }),
      mode: Type.Optional(
        Type.Enum([...SEARCH_MODES], { description: 'Default hybrid: the mix of what the job has.' }),
      ),
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, description: 'Default 10.' })),
      explain: Type.Optional(Type.Boolean({ description: 'Also say which tokens carried a hit.' })),
    },
    { additionalProperties: false },
  );

const ScoresSchema = Type.Object({
  dense: Type.Optional(Type.Number()),
  sparse: Type.Optional(Type.Number()),
  colbert: Type.Optional(Type.Number()),
});

export const SearchResultSchema = Type.Object({
  hits: Type.Array(
    Type.Object({
      id: Type.String(),
      chunk: Type.Integer(),
      score: Type.Number(),
      scores: ScoresSchema,
      start: Type.Optional(
        Type.Integer({ description: 'With chunking: where `text` lies in the document.' }),
      ),
      end: Type.Optional(Type.Integer()),
      text: Type.String(),
      payload: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
      explanation: Type.Optional(
        Type.Object({
          sparse: Type.Optional(
            Type.Array(
              Type.Object({
                tokenId: Type.Integer(),
                token: Type.String(),
                queryWeight: Type.Number(),
                documentWeight: Type.Number(),
                product: Type.Number(),
              }),
            ),
          ),
          colbert: Type.Optional(
            Type.Array(
              Type.Object({
                queryIndex: Type.Integer(),
                queryTokenId: Type.Optional(Type.Integer()),
                queryToken: Type.Optional(Type.String()),
                documentIndex: Type.Integer(),
                documentToken: Type.Optional(Type.String({ description: 'As the tokenizer writes it.' })),
                similarity: Type.Number(),
              }),
            ),
          ),
        }),
      ),
    }),
    { description: 'Best first.' },
  ),
  scanned: Type.Integer({ description: 'Rows looked at.' }),
  weights: ScoresSchema,
  notes: Type.Array(Type.String()),
  warnings: Type.Array(WarningSchema),
});
