import { ERRORS, type ErrorCode } from '@trivec/core/errors';
import { OUTPUTS } from '@trivec/core/vectors/types';
import { type TSchema, Type } from 'typebox';

/** The body of every error. Registered once; responses refer to it. */
export const ErrorSchema = Type.Object(
  {
    error: Type.Object({
      code: Type.Enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]),
      message: Type.String({ description: 'Names the field, the line and the limit; says what to change.' }),
      param: Type.Union([Type.String(), Type.Null()], {
        description: 'The field, parameter or header at fault.',
      }),
      requestId: Type.String({ description: 'As in the header x-request-id.' }),
    }),
  },
  { $id: 'Error' },
);

/** Codes that any route can answer. */
const ANYWHERE: readonly ErrorCode[] = [
  'invalid_request',
  'unauthorized',
  'forbidden',
  'forbidden_host',
  'rate_limited',
  'internal',
  'backend_unavailable',
  'shutting_down',
];

/**
 * The error responses of a route, by status. Typed as nothing: what a handler may return is its success only,
 * errors are thrown.
 */
export function errorResponses(...codes: ErrorCode[]): Record<never, never> {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of [...ANYWHERE, ...codes]) {
    const { status } = ERRORS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, list]) => [
      status,
      jsonResponse(list.map((code) => `\`${code}\``).join(', '), Type.Ref('Error#')),
    ]),
  );
}

export function jsonResponse(description: string, schema: TSchema) {
  return { description, content: { 'application/json': { schema } } };
}

/** A response whose handler sends bytes or text of its own. */
export function rawResponse(
  description: string,
  types: Record<string, TSchema>,
  headers?: Record<string, TSchema>,
) {
  return {
    description,
    ...(headers !== undefined && { headers }),
    content: Object.fromEntries(Object.entries(types).map(([type, schema]) => [type, { schema }])),
  };
}

export const OutputSchema = Type.Enum([...OUTPUTS]);

export const OutputsSchema = Type.Array(OutputSchema, {
  minItems: 1,
  description: 'Which vectors. The model decides which there are (GET /models).',
});

export const ModelNameSchema = Type.String({
  minLength: 1,
  maxLength: 256,
  description: 'A name that GET /models lists; the configured model when absent.',
});

export const SparseSchema = Type.Object(
  { indices: Type.Array(Type.Integer({ minimum: 0 })), values: Type.Array(Type.Number()) },
  { description: 'Lexical weights by token id; indices ascend.' },
);

export const ColbertSchema = Type.Array(Type.Array(Type.Number()), {
  description: 'One normalised row a token.',
});

export const WarningSchema = Type.Union([
  Type.Object({
    code: Type.Literal('input_truncated'),
    index: Type.Integer({ minimum: 0 }),
    maxTokens: Type.Integer({ description: 'The limit, special tokens included.' }),
    originalTokens: Type.Integer(),
  }),
  Type.Object(
    { code: Type.Literal('zero_vector'), index: Type.Integer({ minimum: 0 }) },
    { description: 'The model knows no token of this text: its dense vector is near to nothing.' },
  ),
]);

export const nullable = <S extends TSchema>(schema: S) => Type.Union([schema, Type.Null()]);
