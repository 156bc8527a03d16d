import { parseFilter } from './qdrantFilter.ts';
import {
  badFormat,
  checkNewName,
  checkShape,
  fit,
  type Id,
  invalidBody,
  isObject,
  type Json,
  parseId,
  parseVectorConfigs,
  Refusal,
  type StoredVector,
  shapeOf,
  type VectorConfig,
  wrongInput,
} from './qdrantRules.ts';

export interface StoredPoint {
  id: Id;
  vectors: Map<string, StoredVector>;
  payload: Json;
}

export interface StoredCollection {
  name: string;
  /** As it was created, plus what was changed since. */
  params: Json;
  hnswConfig: Json;
  optimizerConfig: Json;
  vectors: Map<string, VectorConfig>;
  points: Map<Id, StoredPoint>;
}

const HNSW = {
  m: 16,
  ef_construct: 100,
  full_scan_threshold: 10_000,
  max_indexing_threads: 0,
  on_disk: false,
};
const OPTIMIZER = {
  deleted_threshold: 0.2,
  vacuum_min_vector_number: 1000,
  default_segment_number: 0,
  max_segment_size: null,
  memmap_threshold: null,
  indexing_threshold: 10_000,
  flush_interval_sec: 5,
  max_optimization_threads: null,
  prevent_unoptimized: null,
};

/** The collections of a Qdrant, in memory. Refuses what a real one refuses. */
export class QdrantStore {
  readonly collections = new Map<string, StoredCollection>();
  readonly aliases = new Map<string, string>();

  find(name: string): StoredCollection {
    const found = this.collections.get(this.aliases.get(name) ?? name);
    if (!found) throw new Refusal(404, `Not found: Collection \`${name}\` doesn't exist!`);
    return found;
  }

  has(name: string): boolean {
    return this.collections.has(this.aliases.get(name) ?? name);
  }

  create(name: string, body: Json): void {
    checkNewName(name);
    const vectors = parseVectorConfigs(body);
    if (this.collections.has(name))
      throw new Refusal(409, `Wrong input: Collection \`${name}\` already exists!`);
    if (this.aliases.has(name))
      throw wrongInput(`Can't create collection with name ${name}. Alias with the same name already exists`);
    const params = {
      vectors: body.vectors ?? {},
      shard_number: 1,
      replication_factor: 1,
      write_consistency_factor: 1,
      on_disk_payload: true,
      ...(body.sparse_vectors !== undefined && { sparse_vectors: body.sparse_vectors }),
    };
    this.collections.set(name, {
      name,
      params,
      hnswConfig: { ...HNSW, ...(body.hnsw_config as Json | undefined) },
      optimizerConfig: { ...OPTIMIZER, ...(body.optimizers_config as Json | undefined) },
      vectors,
      points: new Map(),
    });
  }

  update(name: string, body: Json): void {
    const m = isObject(body.hnsw_config) ? body.hnsw_config.m : undefined;
    if (m !== undefined && !(Number.isInteger(m) && (m as number) >= 0))
      throw badFormat(`invalid type: string ${JSON.stringify(m)}, expected usize`);
    const collection = this.find(name);
    Object.assign(collection.hnswConfig, body.hnsw_config);
    Object.assign(collection.optimizerConfig, body.optimizers_config);
  }

  /** By its own name; an alias is none. */
  delete(name: string): boolean {
    for (const [alias, target] of this.aliases) if (target === name) this.aliases.delete(alias);
    return this.collections.delete(name);
  }

  changeAliases(actions: readonly Json[]): void {
    for (const { create_alias: create, delete_alias: remove } of actions) {
      if (isObject(create)) {
        const [alias, target] = [String(create.alias_name), String(create.collection_name)];
        if (!this.collections.has(target)) this.find(target);
        if (this.collections.has(alias))
          throw new Refusal(409, `Wrong input: Collection \`${alias}\` already exists!`);
        this.aliases.set(alias, target);
      } else if (isObject(remove)) this.aliases.delete(String(remove.alias_name));
    }
  }

  /** The points of an upsert, checked: none is applied if one is refused. */
  parseUpsert(name: string, body: unknown, text: string): StoredPoint[] {
    if (!isObject(body) || !Array.isArray(body.points))
      throw badFormat('Invalid PointInsertOperations format');
    const raw = body.points.map((point) => parsePoint(point, text));
    for (const [i, { vectors }] of raw.entries())
      for (const vector of vectors.values()) checkShape(vector, `points[${i}].vector.?`);
    if (raw.length === 0) throw new Refusal(400, 'Bad request: Empty update request');
    const collection = this.find(name);
    return raw.map(({ id, vectors, payload }) => ({
      id,
      payload,
      vectors: new Map(
        [...vectors].map(([key, vector]) => [
          key,
          fit(vector, collection.vectors.get(key), key, ` for vector '${key}'`),
        ]),
      ),
    }));
  }

  apply(name: string, points: readonly StoredPoint[]): void {
    const collection = this.find(name);
    for (const point of points) collection.points.set(point.id, point);
  }

  deletePoints(name: string, body: unknown): void {
    const noVariant = () => badFormat('data did not match any variant of untagged enum PointsSelector');
    if (!isObject(body)) throw noVariant();
    if (Array.isArray(body.points)) {
      let ids: Id[];
      try {
        ids = body.points.map(parseId);
      } catch {
        throw noVariant();
      }
      for (const id of ids) this.find(name).points.delete(id);
    } else if (body.filter !== undefined) {
      const matches = parseFilter(body.filter);
      const { points } = this.find(name);
      for (const point of points.values()) if (matches(point)) points.delete(point.id);
    } else throw noVariant();
  }
}

function parsePoint(point: unknown, text: string) {
  if (!isObject(point)) throw badFormat('invalid type: expected struct PointStruct');
  if (!('id' in point)) throw badFormat('missing field `id`');
  const id = parseId(point.id);
  if (!('vector' in point)) throw badFormat('missing field `vector`');
  const payload = point.payload ?? {};
  if (!isObject(payload)) throw badFormat('invalid type: sequence, expected a map');
  const vectors = new Map<string, NonNullable<ReturnType<typeof shapeOf>>>();
  for (const [name, value] of isObject(point.vector)
    ? Object.entries(point.vector)
    : [['', point.vector] as const]) {
    const shape = shapeOf(value, text);
    if (shape === undefined) throw badFormat('data did not match any variant of untagged enum VectorStruct');
    vectors.set(name, shape);
  }
  return { id, vectors, payload };
}

/** Ids in Qdrant's order: numbers, then UUIDs. */
export function compareIds(a: Id, b: Id): number {
  if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
  return typeof a === 'number' ? -1 : 1;
}

/** A point as an answer shows it. */
export function shownPoint(point: StoredPoint, withPayload: unknown, withVector: unknown): Json {
  const shown: Json = { id: point.id };
  if (withPayload === true) shown.payload = point.payload;
  else if (Array.isArray(withPayload))
    shown.payload = Object.fromEntries(
      withPayload.filter((key) => Object.hasOwn(point.payload, key)).map((key) => [key, point.payload[key]]),
    );
  if (withVector === true || Array.isArray(withVector))
    shown.vector = Object.fromEntries(
      [...point.vectors]
        .filter(([name]) => withVector === true || (withVector as unknown[]).includes(name))
        .map(([name, vector]) => [name, shownVector(vector)]),
    );
  return shown;
}

function shownVector(vector: StoredVector): unknown {
  if (vector.kind === 'dense') return Array.from(vector.values);
  if (vector.kind === 'multi') return vector.rows.map((row) => Array.from(row));
  return { indices: vector.indices, values: vector.values };
}

export function requireLimit(body: Json): number {
  const limit = body.limit ?? 10;
  if (!Number.isInteger(limit) || (limit as number) < 1)
    throw invalidBody(`internal.limit: value ${String(limit)} invalid, must be 1 or larger`);
  return limit as number;
}
