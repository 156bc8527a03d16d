import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { type Static, type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import { TrivecError } from './errors.ts';
import { API_OPTIONS } from './options/api.ts';
import { BACKEND_OPTIONS } from './options/backend.ts';
import { ENGINE_OPTIONS } from './options/engine.ts';
import { JOBS_OPTIONS } from './options/jobs.ts';
import { MODELS_OPTIONS } from './options/models.ts';
import type { Option } from './options/option.ts';
import { PROCESS_OPTIONS } from './options/process.ts';
import { QDRANT_OPTIONS } from './options/qdrant.ts';
import { unknownSettings } from './unknownSettings.ts';

/** Every option: its type, environment name, default and docs, one file a room. */
export const OPTIONS = {
  ...API_OPTIONS,
  ...BACKEND_OPTIONS,
  ...MODELS_OPTIONS,
  ...ENGINE_OPTIONS,
  ...JOBS_OPTIONS,
  ...QDRANT_OPTIONS,
  ...PROCESS_OPTIONS,
} as const;

/** The same under the headings of the docs. */
export const OPTION_SECTIONS: Readonly<Record<string, Readonly<Record<string, Option>>>> = {
  'HTTP server': API_OPTIONS,
  'Queue and storage': BACKEND_OPTIONS,
  Models: MODELS_OPTIONS,
  'Device and batches': ENGINE_OPTIONS,
  Jobs: JOBS_OPTIONS,
  Qdrant: QDRANT_OPTIONS,
  'Every process': PROCESS_OPTIONS,
};

type Options = typeof OPTIONS;
type Widen<T> = T extends string ? string : T extends number ? number : T extends boolean ? boolean : T;

/** Every option, parsed. `undefined` where an option has no default and was not given. */
export type Config = {
  readonly [K in keyof Options]: Options[K]['default'] extends undefined
    ? Static<Options[K]['schema']> | undefined
    : Options[K]['default'] extends readonly unknown[]
      ? readonly string[]
      : Widen<Static<Options[K]['schema']>>;
};

/**
 * Parses the environment. An empty string counts as absent.
 * Throws `invalid_config` with one line that names the option, what it got and what it takes.
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const config: Record<string, unknown> = {};
  for (const [name, spec] of Object.entries<Option>(OPTIONS)) {
    const raw = env[spec.env];
    config[name] = raw === undefined || raw === '' ? spec.default : parse(spec, raw);
  }
  return config as Config;
}

/** The environment over the `.env` file of the folder, if there is one. */
export function readEnvironment(file = '.env', env = process.env): Record<string, string | undefined> {
  return { ...readEnvFile(file), ...env };
}

/** A line for every name that looks like an option and is none, such as `MODEL_DTPYE: unknown; did you mean MODEL_DTYPE?`. */
export function misspeltOptions(file = '.env', env = process.env): string[] {
  const known = Object.values<Option>(OPTIONS).map((option) => option.env);
  const names = { file: Object.keys(readEnvFile(file)), environment: Object.keys(env) };
  return unknownSettings(known, names);
}

function readEnvFile(file: string): Record<string, string | undefined> {
  try {
    return parseEnv(readFileSync(file, 'utf8'));
  } catch {
    return {};
  }
}

function parse(spec: Option, raw: string): unknown {
  const value = convert(spec.schema, raw);
  if (Value.Check(spec.schema, value)) return value;
  const shown = spec.secret ? 'the given value' : JSON.stringify(raw);
  // A pattern tells a person little: the description says what is meant.
  const problem =
    Type.IsArray(spec.schema) || 'pattern' in spec.schema
      ? `${shown} ${lacksScheme(spec.schema, raw) ? 'lacks http:// or https:// in front' : 'is malformed'}. ${spec.description}`
      : `${shown} is not ${describeSchema(spec.schema)}.`;
  throw new TrivecError('invalid_config', `${spec.env}: ${problem}`, { param: spec.env });
}

function lacksScheme(schema: TSchema, raw: string): boolean {
  const { pattern } = schema as { pattern?: string };
  return pattern?.startsWith('^https?://') === true && !/^https?:\/\//.test(raw);
}

function convert(schema: TSchema, raw: string): unknown {
  // The only union is `countOrOff`.
  if (Type.IsInteger(schema) || Type.IsUnion(schema)) return /^-?\d+$/.test(raw) ? Number(raw) : raw;
  if (Type.IsBoolean(schema))
    return raw === 'true' || raw === '1' ? true : raw === 'false' || raw === '0' ? false : raw;
  if (Type.IsArray(schema))
    return raw
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '');
  return raw;
}

/** What an option takes, in words: used by the error and by `docs/configuration.md`. */
export function describeSchema(schema: TSchema): string {
  if (Type.IsInteger(schema)) {
    const { minimum, maximum } = schema as { minimum?: number; maximum?: number };
    return maximum === undefined || maximum === Number.MAX_SAFE_INTEGER
      ? `an integer of at least ${minimum}`
      : `an integer from ${minimum} to ${maximum}`;
  }
  if (Type.IsUnion(schema)) return schema.anyOf.map(describeSchema).join(' or ');
  if (Type.IsLiteral(schema)) return String(schema.const);
  if (Type.IsBoolean(schema)) return 'true or false';
  if (Type.IsArray(schema)) return 'a comma-separated list';
  if (Type.IsEnum(schema)) return `one of ${schema.enum.join(', ')}`;
  const { pattern } = schema as { pattern?: string };
  return pattern === undefined ? 'a non-empty string' : `a string that matches ${pattern}`;
}
