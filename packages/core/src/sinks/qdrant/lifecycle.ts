import { TrivecError } from '../../errors.ts';
import type { QdrantConnection, RequestOptions } from './client.ts';
import {
  type CollectionPlan,
  type CollectionRules,
  createBody,
  isAsideOf,
  mismatches,
  planCollection,
} from './collection.ts';
import type { QdrantDestination } from './destination.ts';

/** HNSW edges where a server does not say what it had before: Qdrant's own default. */
const DEFAULT_HNSW_M = 16;
/** A check that a client waits for fails soon; loading has more patience. */
const CHECK_RETRIES = 1;

/**
 * Reads the server and says what to do; changes nothing. Throws `collection_conflict`, `sink_unavailable`
 * (at once, more or less: someone waits), `sink_rejected` (the key).
 */
export async function checkCollection(
  connection: QdrantConnection,
  destination: QdrantDestination,
  rules: CollectionRules,
  jobId: string,
): Promise<CollectionPlan> {
  const { collection } = destination;
  const existing = await connection.collectionConfig(collection, { retries: CHECK_RETRIES });
  await connection.checkUpserts(collection, { retries: CHECK_RETRIES });
  return planCollection(destination, rules, existing, jobId);
}

/** Makes what the plan asks for. Again is harmless; true if this call made the collection. */
export async function makeCollection(
  connection: QdrantConnection,
  plan: CollectionPlan,
  rules: CollectionRules,
): Promise<boolean> {
  if (plan.action === 'use') return false;
  const made = await connection.createCollection(plan.collection, createBody(rules));
  if (made) return true;
  // Someone was first: another job, or this one before a lost answer.
  const existing = await connection.collectionConfig(plan.collection);
  const problems = existing === undefined ? ['it was there and is gone'] : mismatches(rules, existing);
  if (problems.length > 0)
    throw new TrivecError(
      'collection_conflict',
      `Collection ${plan.collection} was made by someone else meanwhile and does not fit: ${problems.join('; ')}.`,
      { param: 'destination' },
    );
  return false;
}

/** The collection's HNSW edges as they are: to be written down before `deferIndexing` sets them to 0. */
export async function readHnswM(
  connection: QdrantConnection,
  collection: string,
  options: RequestOptions = {},
): Promise<number> {
  const config = await connection.collectionConfig(collection, options);
  const m = config?.hnsw_config.m;
  return m === undefined || m === 0 ? DEFAULT_HNSW_M : m;
}

/** No graph is built until `restoreIndexing`. */
export async function deferIndexing(
  connection: QdrantConnection,
  collection: string,
  options: RequestOptions = {},
): Promise<void> {
  await connection.setHnswM(collection, 0, options);
}

export async function restoreIndexing(
  connection: QdrantConnection,
  collection: string,
  m: number,
  options: RequestOptions = {},
): Promise<void> {
  await connection.setHnswM(collection, m, options);
}

/**
 * Puts a finished replacement behind the name that was asked for. From one alias to another it is one step
 * for searchers. A collection of that very name must go first, because Qdrant has one namespace for both:
 * then searches fail for a moment. What an earlier replacement left behind is deleted; so is this one, where another
 * replacement of the same name was swapped in at the same moment. Again is harmless.
 */
export async function swapAlias(
  connection: QdrantConnection,
  alias: string,
  collection: string,
  options: RequestOptions = {},
): Promise<void> {
  const previous = await connection.aliasTarget(alias, options);
  if (previous !== collection) {
    if (previous === undefined) await connection.deleteCollection(alias, options);
    await connection.setAlias(alias, collection, options);
    if (previous !== undefined && isAsideOf(previous, alias))
      await connection.deleteCollection(previous, options);
  }
  const now = await connection.aliasTarget(alias, options);
  if (now !== undefined && now !== collection) await connection.deleteCollection(collection, options);
}

/** A replacement that will not be finished goes, unless it stands behind its alias already. Again is harmless. */
export async function dropReplacement(
  connection: QdrantConnection,
  alias: string,
  collection: string,
  options: RequestOptions = {},
): Promise<void> {
  if ((await connection.aliasTarget(alias, options)) !== collection)
    await connection.deleteCollection(collection, options);
}
