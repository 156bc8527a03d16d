/** What a Qdrant refuses, in its words: taken from the answers of 1.18.3 in test/golden/qdrant/answers.json. */

export class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export const badFormat = (message: string) => new Refusal(400, `Format error in JSON body: ${message}`);
export const invalidBody = (where: string) => new Refusal(422, `Validation error in JSON body: [${where}]`);
export const wrongInput = (message: string) => new Refusal(400, `Wrong input: ${message}`);

export const BODY_LIMIT_BYTES = 32 * 1024 * 1024;
const MULTIVECTOR_LIMIT = 1024 * 1024;

export type Id = number | string;
export type StoredVector =
  | { kind: 'dense'; values: Float32Array }
  | { kind: 'sparse'; indices: number[]; values: number[] }
  | { kind: 'multi'; rows: Float32Array[] };

export interface VectorConfig {
  kind: 'dense' | 'multi' | 'sparse';
  size: number;
  cosine: boolean;
}

export type Json = Record<string, unknown>;

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;

/** An unsigned integer or a UUID, which is given back in lower case. */
export function parseId(value: unknown): Id {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < 2 ** 64) return value;
  if (typeof value === 'string' && UUID.test(value)) return value.toLowerCase();
  const shown = value === null ? 'Unit' : typeof value === 'string' ? value : JSON.stringify(value);
  throw badFormat(
    `value ${shown} is not a valid point ID, valid values are either an unsigned integer or a UUID`,
  );
}

const isNumbers = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'number');
const isU32s = (value: unknown): value is number[] =>
  isNumbers(value) && value.every((item) => Number.isInteger(item) && item >= 0 && item < 2 ** 32);

export type RawVector =
  | { kind: 'dense'; values: number[] }
  | { kind: 'sparse'; indices: number[]; values: number[] }
  | { kind: 'multi'; rows: number[][] };

/**
 * The shape of a vector as serde's untagged enum finds it: dense, sparse, multi, in this order. `text` is the
 * request: two rows of which the first is written as whole numbers are a sparse vector to it.
 */
export function shapeOf(value: unknown, text: string): RawVector | undefined {
  if (isNumbers(value)) return { kind: 'dense', values: value };
  if (isObject(value) && isU32s(value.indices) && isNumbers(value.values))
    return { kind: 'sparse', indices: value.indices, values: value.values };
  if (!Array.isArray(value) || !value.every(isNumbers)) return undefined;
  const [first, second] = value;
  if (value.length === 2 && isU32s(first) && second && text.includes(`[[${first.join(',')}],`))
    return { kind: 'sparse', indices: first, values: second };
  return { kind: 'multi', rows: value };
}

/** Rules that hold for any collection: 422 with the place. */
export function checkShape(vector: RawVector, place: string): void {
  if (vector.kind === 'dense') {
    if (vector.values.length === 0 && place !== 'internal.query')
      throw invalidBody(`${place}.vector: dense vector must not be empty`);
  } else if (vector.kind === 'sparse') {
    if (vector.indices.length !== vector.values.length)
      throw invalidBody(`${place}.values: Validation error: must be the same length as indices [{}]`);
    if (new Set(vector.indices).size !== vector.indices.length)
      throw invalidBody(`${place}.indices: Validation error: must be unique [{}]`);
  } else {
    const { rows } = vector;
    if (rows.some((row) => row.length === 0))
      throw invalidBody(`${place}.data: all vectors must be non-empty`);
    const total = rows.reduce((sum, row) => sum + row.length, 0);
    if (total >= MULTIVECTOR_LIMIT)
      throw invalidBody(
        `${place}.data: Total size of all vectors (${total}) must be less than ${MULTIVECTOR_LIMIT}`,
      );
    const other = rows.find((row) => row.length !== rows[0]!.length);
    if (other)
      throw invalidBody(
        `${place}.data: all vectors must have the same dimension, found vector with dimension ${other.length}`,
      );
  }
}

/** Against the collection: name, kind and size. `suffix` tells the vector's name where Qdrant does. */
export function fit(
  vector: RawVector,
  config: VectorConfig | undefined,
  name: string,
  suffix = '',
): StoredVector {
  if (config === undefined) throw wrongInput(`Not existing vector name error: ${name}`);
  if ((vector.kind === 'sparse') !== (config.kind === 'sparse'))
    throw wrongInput('Conversion between sparse and regular vectors failed');
  if (vector.kind === 'sparse') {
    const order = vector.indices.map((_, i) => i).sort((a, b) => vector.indices[a]! - vector.indices[b]!);
    return {
      kind: 'sparse',
      indices: order.map((i) => vector.indices[i]!),
      values: order.map((i) => Math.fround(vector.values[i]!)),
    };
  }
  if (vector.kind === 'multi' && config.kind === 'dense')
    throw wrongInput('Conversion between multi and regular vectors failed');
  const rows = vector.kind === 'multi' ? vector.rows : [vector.values];
  for (const row of rows)
    if (row.length !== config.size)
      throw wrongInput(`Vector dimension error: expected dim: ${config.size}, got ${row.length}${suffix}`);
  const stored = rows.map((row) => (config.cosine ? normalised(row) : Float32Array.from(row)));
  return config.kind === 'dense' ? { kind: 'dense', values: stored[0]! } : { kind: 'multi', rows: stored };
}

function normalised(row: readonly number[]): Float32Array {
  const values = Float32Array.from(row);
  const norm = Math.hypot(...values.map(Math.abs));
  return norm < 1e-12 ? values : values.map((value) => value / norm);
}

const BAD_NAME_CHARS = ['<', '>', ':', '"', '/', '\\', '|', '?', '*', '\0', '\u001F'];

export function checkNewName(name: string): void {
  const place = 'Validation error in path parameters: [collection_name:';
  if (name.length < 1 || Buffer.byteLength(name) > 255)
    throw new Refusal(
      422,
      `${place} value ${JSON.stringify(name)} invalid, must be from 1 to 255 characters]`,
    );
  const bad = BAD_NAME_CHARS.find((char) => name.includes(char));
  if (bad !== undefined) throw new Refusal(422, `${place} collection name cannot contain "${bad}" char]`);
}

const DISTANCES = ['Cosine', 'Euclid', 'Dot', 'Manhattan'];

/** `vectors` and `sparse_vectors` of a creation. */
export function parseVectorConfigs(body: Json): Map<string, VectorConfig> {
  const configs = new Map<string, VectorConfig>();
  const vectors = isObject(body.vectors) ? body.vectors : {};
  const named = typeof vectors.size === 'number' ? { '': vectors } : vectors;
  for (const [name, params] of Object.entries(named)) {
    const { size, distance, multivector_config: multi } = isObject(params) ? params : ({} as Json);
    if (!Number.isInteger(size) || (size as number) < 1 || !DISTANCES.includes(String(distance)))
      throw badFormat('data did not match any variant of untagged enum VectorsConfig');
    if ((size as number) > 65_536)
      throw invalidBody(`vectors.?.size: value ${size} invalid, must be from 1 to 65536`);
    configs.set(name, {
      kind: multi === undefined ? 'dense' : 'multi',
      size: size as number,
      cosine: distance === 'Cosine',
    });
  }
  for (const name of Object.keys(isObject(body.sparse_vectors) ? body.sparse_vectors : {}))
    configs.set(name, { kind: 'sparse', size: 0, cosine: false });
  return configs;
}
