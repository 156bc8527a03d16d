import { setTimeout as sleep } from 'node:timers/promises';
import { TrivecError } from '../errors.ts';
import type { SinkObserver } from '../sinks/qdrant/client.ts';
import type { QdrantDestination } from '../sinks/qdrant/destination.ts';
import { isKeyRefused, QdrantFailure } from '../sinks/qdrant/failure.ts';
import type { QdrantSink } from '../sinks/qdrant/open.ts';
import { type WriteReport, writeDocuments } from '../sinks/qdrant/writer.ts';
import { readArrow } from '../vectors/arrow.ts';
import { readShardDocuments } from './shardCutter.ts';
import { sinkDocuments } from './sinkDocuments.ts';

/** One stored shard and where it goes. Plain data: it travels to another thread. */
export interface WriteTask {
  /** The shard's results (Arrow) and its documents (NDJSON). */
  results: Uint8Array;
  documents?: Uint8Array;
  collection: string;
  destination: QdrantDestination;
  /** What points say of where they come from; another for each ingestion. */
  mark: string;
}

export interface WriteOptions {
  signal: AbortSignal;
  observer?: SinkObserver;
}

const NOTHING: Omit<WriteReport, 'failed'> = {
  documents: 0,
  points: 0,
  bytes: 0,
  retries: 0,
  slowDowns: 0,
  stalePoints: 0,
  colbertOverflowed: 0,
};

/**
 * Writes a shard. What Qdrant refuses altogether (a collection that is gone) fails every document, and so does a damaged
 * blob, which the next try would find the same; what may heal (a key that is refused, too) is thrown: `sink_unavailable`,
 * and the signal's reason.
 */
export async function writeShard(
  sink: QdrantSink,
  task: WriteTask,
  options: WriteOptions,
): Promise<WriteReport> {
  const read = readTask(task);
  if (read === undefined)
    return lostShard('The results or the documents of a shard are damaged in the storage.');
  const { columns, documents } = read;
  const target = {
    connection: sink.connection,
    collection: task.collection,
    destination: task.destination,
    jobId: task.mark,
    limits: sink.limits,
    concurrency: sink.concurrency,
  };
  const write = () => writeDocuments(target, sinkDocuments(columns, documents), options);
  try {
    return await write().catch(async (error: unknown) => {
      if (!isMissing(error)) throw error;
      // Another job may be putting a replacement in its place: then it is there again in a moment.
      await sleep(MISSING_RETRY_MS, undefined, { signal: options.signal });
      return await write();
    });
  } catch (error) {
    if (isKeyRefused(error)) throw waitForKey(error);
    if (!(error instanceof TrivecError) || error.code !== 'sink_rejected') throw error;
    return { ...NOTHING, failed: Array.from(new Set(columns.ids), (id) => ({ id, message: error.message })) };
  }
}

const KEY_RETRY_SECONDS = 15;
const MISSING_RETRY_MS = 500;

function isMissing(error: unknown): boolean {
  return error instanceof QdrantFailure && error.httpStatus === 404;
}

/** As something that may heal: QDRANT_API_KEY is an operator's, and the job has time. */
export function waitForKey(error: TrivecError): TrivecError {
  return new TrivecError('sink_unavailable', error.message, {
    retryAfterSeconds: KEY_RETRY_SECONDS,
    cause: error,
  });
}

function readTask({ results, documents }: WriteTask) {
  try {
    return {
      columns: readArrow(results),
      documents: documents === undefined ? [] : readShardDocuments(Buffer.from(documents)),
    };
  } catch {
    return undefined;
  }
}

/** A shard that has no results: all of its documents failed before. */
export const NOTHING_TO_WRITE: WriteReport = { ...NOTHING, failed: [] };

/** The ids went with the blob; one entry stands for all documents, so that the job can end and say so. */
export function lostShard(message: string): WriteReport {
  return { ...NOTHING, failed: [{ id: '', message }] };
}
