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
import { requireVersion } from './version.ts';

/** HNSW edges where a server does not say what it had before: Qdrant's own default. */
const DEFAULT_HNSW_M = 16;
/** A check that a client waits for fails soon; loading has more patience. */
const CHECK_RETRIES = 1;

/**
 * Reads the server and says what to do; changes nothing. An alias is looked up once, here: all points go to what it
 * stands for now. Throws `collection_conflict`, `invalid_request` (a server that is too old), `sink_unavailable` (at once,
 * more or less: someone waits), `sink_rejected` (the key).
 */
export async function checkCollection(
  connection: QdrantConnection,
  destination: QdrantDestination,
  rules: CollectionRules,
  jobId: string,
): Promise<CollectionPlan> {
  const options = { retries: CHECK_RETRIES };
  const { collection } = destination;
  const { description, wire } = connection;
  requireVersion(await connection.version(options), rules, { description, grpc: wire === 'protobuf' });
  const meant = (await connection.aliasTarget(collection, options)) ?? collection;
  const existing = await connection.collectionConfig(meant, options);
  await connection.checkUpserts(collection, options);
  const plan = planCollection(destination, rules, existing, jobId);
  return plan.action === 'use' ? { ...plan, collection: meant } : plan;
}

/**
 * What to say where the name that a job was given has come to mean another collection than the job wrote to; undefined
 * where it has not.
 */
export async function movedAway(
  connection: QdrantConnection,
  name: string,
  collection: string,
  options: RequestOptions = {},
): Promise<string | undefined> {
  const target = await connection.aliasTarget(name, options);
  if ((target ?? name) === collection) return undefined;
  const again = 'Send the results once more (POST /jobs/ID/ingest) if they are to be there.';
  if (name === collection)
    return `Collection ${name} was replaced by an alias of ${target} while the job wrote to it; what was written before went with it. ${again}`;
  const now = target === undefined ? 'is gone' : `stands for ${target}`;
  return `The job wrote to ${collection}, which the alias ${name} stood for when it began; ${name} ${now} now. ${again}`;
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
 * What an earlier replacement left behind the alias: to be deleted when another stands there, and to be written down before
 * that, because afterwards nobody knows of it.
 */
export async function replacedBy(
  connection: QdrantConnection,
  alias: string,
  collection: string,
  options: RequestOptions = {},
): Promise<string | undefined> {
  const previous = await connection.aliasTarget(alias, options);
  return previous !== undefined && previous !== collection && isAsideOf(previous, alias)
    ? previous
    : undefined;
}

/**
 * Puts a finished replacement behind the name that was asked for. From one alias to another it is one step
 * for searchers. A collection of that very name must go first, because Qdrant has one namespace for both:
 * then searches fail for a moment. What it replaces, by `replacedBy`, is deleted; so is this one, where another
 * replacement of the same name was swapped in at the same moment. Again is harmless.
 */
export async function swapAlias(
  connection: QdrantConnection,
  alias: string,
  collection: string,
  { replaced = [], ...options }: RequestOptions & { replaced?: readonly string[] } = {},
): Promise<void> {
  const previous = await connection.aliasTarget(alias, options);
  if (previous !== collection) {
    // Where the job was cancelled meanwhile, the replacement is gone, and must not take the collection with it.
    if (previous === undefined && (await connection.collectionConfig(collection, options)) !== undefined)
      await connection.deleteCollection(alias, options);
    await connection.setAlias(alias, collection, options);
  }
  const now = await connection.aliasTarget(alias, options);
  // Gone with its collection, at the same moment: what it was to replace is all that is left.
  if (now === undefined) return;
  for (const old of replaced) if (old !== now) await connection.deleteCollection(old, options);
  if (now !== collection) await connection.deleteCollection(collection, options);
}

/**
 * A replacement that will not be finished goes, unless it stands behind its alias already; then what it replaces does. Again
 * is harmless.
 */
export async function dropReplacement(
  connection: QdrantConnection,
  alias: string,
  collection: string,
  { replaced = [], ...options }: RequestOptions & { replaced?: readonly string[] } = {},
): Promise<void> {
  const gone = (await connection.aliasTarget(alias, options)) === collection ? replaced : [collection];
  for (const each of gone) await connection.deleteCollection(each, options);
}
