import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import { TrivecError } from '@trivec/core/errors';
import { OUTPUTS } from '@trivec/core/vectors/types';
import type { FastifySchemaCompiler, FastifySchemaValidationError } from 'fastify';
import { type TSchema, Type } from 'typebox';

type Part = 'body' | 'querystring' | 'params' | 'headers';

/** TypeBox's checks, with refusals that name the field and the limit. Only JSON bodies are checked: others are streams. */
export const validatorCompiler: FastifySchemaCompiler<TSchema> = (definition) => {
  if (definition.contentType !== undefined && definition.contentType !== 'application/json')
    return () => true;
  const check = TypeBoxValidatorCompiler(definition);
  return (value: unknown): { value?: unknown; error?: Error } => {
    const fraction = definition.httpPart === 'querystring' && fractionIn(definition.schema, value);
    if (fraction) return { error: fraction };
    const result = check(value) as { value?: unknown; error?: FastifySchemaValidationError[] };
    const problems = result.error;
    if (problems === undefined) return { value: result.value };
    return { error: refusal(problems, value, (definition.httpPart ?? 'body') as Part, definition.schema) };
  };
};

/** The check makes numbers of a query's strings: of `1.5` by cutting it off, of `true` 1. Nobody asked for that. */
function fractionIn(schema: TSchema, query: unknown): TrivecError | undefined {
  const { properties = {} } = schema as { properties?: Record<string, TSchema> };
  for (const [name, given] of Object.entries(query as Record<string, unknown>)) {
    const property = Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (property === undefined || !Type.IsInteger(property)) continue;
    if (String(given).trim() !== '' && Number.isInteger(Number(given))) continue;
    return new TrivecError('invalid_request', `${name} must be an integer.`, { param: name });
  }
  return undefined;
}

/**
 * The most telling problem of the deepest place, as an error a person can act on: where a union was missed, what one
 * branch says of a value of its own type, before the types. Values of fields are never repeated.
 */
export function refusal(
  all: readonly FastifySchemaValidationError[],
  value: unknown,
  part: Part,
  schema: TSchema,
): TrivecError {
  // An unknown field is also reported by itself, as a value that no schema allows.
  const problems = all.filter(({ keyword }) => keyword !== 'boolean');
  const deepest = Math.max(...problems.map(depth));
  const here = problems.filter((problem) => depth(problem) === deepest);
  const problem =
    here.find(({ keyword }) => keyword !== 'anyOf' && keyword !== 'type') ??
    here.find(({ keyword }) => keyword !== 'anyOf') ??
    here[0];
  if (problem === undefined) return new TrivecError('invalid_request', 'The request is malformed.');
  const path = fieldPath(problem.instancePath);
  const name = path === '' ? `The ${part === 'querystring' ? 'query' : part}` : path;
  const actual = valueAt(value, problem.instancePath);

  if (problem.keyword === 'enum' && /^outputs\b/.test(path)) {
    return new TrivecError(
      'unknown_output',
      `${name}: ${short(actual)} is not an output; there is ${OUTPUTS.join(', ')}.`,
      { param: path },
    );
  }
  if (problem.keyword === 'minItems' && path === 'input') {
    return new TrivecError('empty_input', 'input must have at least one text.', { param: path });
  }
  const missing = names(problem.params.requiredProperties);
  if (problem.keyword === 'required' && missing[0] !== undefined) {
    const param = path === '' ? missing[0] : `${path}.${missing[0]}`;
    return new TrivecError('invalid_request', `${param} is required.`, { param });
  }
  const unknown = names(problem.params.additionalProperties);
  if (problem.keyword === 'additionalProperties' && unknown[0] !== undefined) {
    const known = path === '' ? Object.keys((schema as { properties?: object }).properties ?? {}) : [];
    const param = path === '' ? unknown[0] : `${path}.${unknown[0]}`;
    const list = known.length === 0 ? '' : `; there is ${known.join(', ')}`;
    const kind = part === 'querystring' ? 'parameter of the query' : 'field';
    return new TrivecError('invalid_request', `${short(unknown[0])} is not a ${kind} here${list}.`, {
      param,
    });
  }
  const rule = requirement(problem, here, actual);
  return new TrivecError('invalid_request', `${name} ${rule}.`, path === '' ? {} : { param: path });
}

function requirement(
  { keyword, params, message }: FastifySchemaValidationError,
  here: readonly FastifySchemaValidationError[],
  actual: unknown,
): string {
  const limit = String(params.limit);
  switch (keyword) {
    case 'type': {
      const types = new Set(
        here.filter((one) => one.keyword === 'type').flatMap((one) => names(one.params.type)),
      );
      return `must be ${[...types].map(withArticle).join(' or ')}, got ${describe(actual)}`;
    }
    case 'enum':
      return `must be one of ${names(params.allowedValues).join(', ')}`;
    case 'const':
      return `must be ${JSON.stringify(params.allowedValue)}`;
    case 'minimum':
      return `must be at least ${limit}`;
    case 'maximum':
      return `must be at most ${limit}`;
    case 'minItems':
      return `must have at least ${limit} items`;
    case 'maxItems':
      return `has ${Array.isArray(actual) ? actual.length : 'too many'} items; at most ${limit} are allowed`;
    case 'minLength':
      return limit === '1' ? 'must not be empty' : `must have at least ${limit} characters`;
    case 'maxLength':
      return `must have at most ${limit} characters`;
    case 'not':
      return 'is a name that cannot be used';
    default:
      return message ?? 'is not valid';
  }
}

function depth({ instancePath }: FastifySchemaValidationError): number {
  return instancePath.split('/').length;
}

/** `/documents/3/text` as `documents[3].text`. */
function fieldPath(pointer: string): string {
  return segments(pointer).reduce(
    (path, segment) =>
      /^\d+$/.test(segment) ? `${path}[${segment}]` : path === '' ? segment : `${path}.${segment}`,
    '',
  );
}

function valueAt(value: unknown, pointer: string): unknown {
  return segments(pointer).reduce<unknown>(
    (inner, segment) => (inner as Record<string, unknown> | null | undefined)?.[segment],
    value,
  );
}

function segments(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function names(value: unknown): string[] {
  return value === undefined ? [] : [value].flat().map(String);
}

function withArticle(type: string): string {
  return /^[aeiou]/.test(type) ? `an ${type}` : type === 'null' ? type : `a ${type}`;
}

function describe(value: unknown): string {
  if (value === undefined || value === null) return 'nothing';
  return withArticle(Array.isArray(value) ? 'array' : typeof value);
}

/** A name that the client made up, not a text: cut, so that a mistake cannot echo a document. */
function short(value: unknown): string {
  return JSON.stringify(String(value).slice(0, 64));
}
