import { type Static, type TSchema, Type } from 'typebox';

/** One option: its environment name, its type and limits (the schema), default, and the sentence for the docs. */
export interface Option<S extends TSchema = TSchema> {
  env: string;
  schema: S;
  default: Static<S> | undefined;
  description: string;
  /** Never printed. */
  secret?: boolean;
}

export function option<S extends TSchema, D extends Static<S> | undefined>(
  env: string,
  schema: S,
  defaultValue: D,
  description: string,
  extra: { secret?: boolean } = {},
): Option<S> & { default: D } {
  return { env, schema, default: defaultValue, description, ...extra };
}

export const count = (minimum: number, maximum = Number.MAX_SAFE_INTEGER) =>
  Type.Integer({ minimum, maximum });

/** A limit that 0 switches off. */
export const countOrOff = (minimum: number, maximum: number) =>
  Type.Union([Type.Literal(0), count(minimum, maximum)]);
