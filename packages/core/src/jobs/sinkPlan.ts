import { TrivecError } from '../errors.ts';
import { type CollectionPlan, collectionRules } from '../sinks/qdrant/collection.ts';
import type { QdrantDestination } from '../sinks/qdrant/destination.ts';
import { checkCollection, makeCollection } from '../sinks/qdrant/lifecycle.ts';
import type { QdrantSink, QdrantSinks } from '../sinks/qdrant/open.ts';
import type { Output } from '../vectors/types.ts';
import type { SinkCounts, SinkState } from './records.ts';

export const NO_SINK_COUNTS: SinkCounts = {
  points: 0,
  bytes: 0,
  retries: 0,
  slowDowns: 0,
  stalePoints: 0,
  colbertOverflowed: 0,
  refused: 0,
};

/** What a job will send. */
export interface SinkSource {
  jobId: string;
  outputs: readonly Output[];
  denseDims?: number | undefined;
  colbertDims?: number | undefined;
}

/** A destination that was found fit: what `makeSink` will make, and the state to commit with the job. */
export interface SinkPlan {
  destination: QdrantDestination;
  source: SinkSource;
  collection: CollectionPlan;
}

/**
 * Looks at the destination before anything is embedded or even read; changes nothing there.
 * Throws `invalid_request` (no such server, no output named), `collection_conflict`, `sink_unavailable`, `sink_rejected`.
 */
export async function planSink(
  sinks: QdrantSinks | undefined,
  destination: QdrantDestination,
  source: SinkSource,
): Promise<SinkPlan> {
  const { connection } = requireSink(sinks, destination.target);
  const collection = await checkCollection(
    connection,
    destination,
    rulesOf(destination, source),
    source.jobId,
  );
  return { destination, source, collection };
}

/**
 * Makes the collection where the plan says so. `undo` removes a replacement that was begun aside; a collection
 * under the name that was asked for stays, empty: another job may have found it meanwhile.
 */
export async function makeSink(
  sinks: QdrantSinks | undefined,
  { destination, source, collection }: SinkPlan,
): Promise<{ state: Omit<SinkState, 'run'>; undo: () => Promise<void> }> {
  const { connection } = requireSink(sinks, destination.target);
  const made = await makeCollection(connection, collection, rulesOf(destination, source));
  const defers = destination.deferIndexing && (made || collection.action === 'replace');
  const swaps = collection.action === 'replace';
  return {
    state: {
      collection: collection.collection,
      ...(swaps && { alias: collection.alias }),
      indexing: defers ? 'toDefer' : 'asIs',
      // Where nothing was put off, it is still seen at the end whether the name means the same collection.
      finished: false,
      counts: NO_SINK_COUNTS,
    },
    undo: async () => {
      if (made && swaps) await connection.deleteCollection(collection.collection);
    },
  };
}

/** The server that is meant. `param` is the field of the request that asks for it. Throws `invalid_request`. */
export function requireSink(
  sinks: QdrantSinks | undefined,
  target: string | undefined,
  param = 'destination',
): QdrantSink {
  const sink = sinks?.of(target);
  if (sink !== undefined) return sink;
  if (target === undefined)
    throw new TrivecError(
      'invalid_request',
      `${param}: this server has no Qdrant; it must be started with QDRANT_URL.`,
      {
        param,
      },
    );
  const known = sinks === undefined || sinks.names.length === 0 ? 'none' : sinks.names.join(', ');
  throw new TrivecError(
    'invalid_request',
    `${param}: QDRANT_TARGETS has no ${JSON.stringify(target)} (it has ${known}).`,
    { param: param === 'destination' ? 'destination.target' : 'target' },
  );
}

function rulesOf(destination: QdrantDestination, { outputs, denseDims, colbertDims }: SinkSource) {
  return collectionRules(destination.vectors, {
    sparse: outputs.includes('sparse'),
    ...(outputs.includes('dense') && denseDims !== undefined && { dense: denseDims }),
    ...(outputs.includes('colbert') && colbertDims !== undefined && { colbert: colbertDims }),
  });
}
