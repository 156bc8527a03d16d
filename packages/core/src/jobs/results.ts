import { TrivecError } from '../errors.ts';
import type { BlobStore } from '../storage/blobStore.ts';
import { isTurnOver, nextTurn } from '../turns.ts';
import { ARROW_STREAM_TYPE, arrowStream, emptyColumns, readArrow } from '../vectors/arrow.ts';
import { JsonBytes } from '../vectors/jsonBytes.ts';
import { PARQUET_TYPE, parquetFile } from '../vectors/parquet.ts';
import { type ResultColumns, sliceColumns } from '../vectors/resultColumns.ts';
import { writeResultLine } from '../vectors/resultLine.ts';
import { decodeCursor, encodeCursor, type ResultPosition } from './cursor.ts';
import type { Ledger } from './ledger.ts';
import type { JobRecord, ShardRecord } from './records.ts';
import type { ResultFormat, ResultPage, ResultQuery } from './serviceTypes.ts';
import { isEnded } from './stateMachine.ts';

export interface ResultDeps {
  ledger: Ledger;
  storage: BlobStore;
}

/** Rows `begin` to `end` (exclusive) of one shard's results. */
interface Portion {
  shard: ShardRecord;
  begin: number;
  end: number;
}

const CONTENT_TYPES: Record<ResultFormat, string> = {
  ndjson: 'application/x-ndjson',
  arrow: ARROW_STREAM_TYPE,
  parquet: PARQUET_TYPE,
};

const CHUNK_BYTES = 64 * 1024;

/**
 * The finished part of a job from its start, or from a cursor, in input order. Where it ends is decided before
 * the first byte: what is stored later is for the next page.
 */
export async function readResults(deps: ResultDeps, job: JobRecord, query: ResultQuery): Promise<ResultPage> {
  const start = query.cursor === undefined ? { ordinal: 0, position: 0 } : decodeCursor(job, query.cursor);
  const limit = query.limit ?? Number.POSITIVE_INFINITY;
  const { rows, end, more } = await planPage(deps.ledger, job, start, limit);
  const shards = readColumns(deps, job, portions(deps.ledger, job, start, rows), query.signal);
  const { model, options } = job;
  const empty = emptyColumns(
    options.outputs,
    {
      ...(model.denseDims !== undefined && { dense: model.denseDims }),
      ...(model.colbertDims !== undefined && { colbert: model.colbertDims }),
    },
    { spans: options.chunking !== undefined },
  );
  const metadata = { model: model.name, fingerprint: model.fingerprint };
  const bodies: Record<ResultFormat, () => AsyncIterable<Uint8Array>> = {
    ndjson: () => ndjsonLines(shards),
    arrow: () => arrowStream(shards, empty, metadata),
    parquet: () => parquetFile(shards, empty, metadata),
  };
  return {
    contentType: CONTENT_TYPES[query.format],
    rows,
    ...(more && { nextCursor: encodeCursor(job.id, end) }),
    body: bodies[query.format](),
  };
}

/** How many rows the page has and where the next one begins; `more` unless the job has ended and all is read. */
async function planPage(
  ledger: Ledger,
  job: JobRecord,
  start: ResultPosition,
  limit: number,
): Promise<{ rows: number; end: ResultPosition; more: boolean }> {
  let rows = 0;
  let end = start;
  for await (const { shard, begin, end: stop } of portions(ledger, job, start, limit)) {
    rows += stop - begin;
    const whole = stop === (shard.rows ?? 0);
    end = whole ? { ordinal: shard.ordinal + 1, position: 0 } : { ordinal: shard.ordinal, position: stop };
  }
  const more = !isEnded(job) || (rows >= limit && (await hasRows(ledger, job, end)));
  return { rows, end, more };
}

async function hasRows(ledger: Ledger, job: JobRecord, from: ResultPosition): Promise<boolean> {
  for await (const portion of portions(ledger, job, from, 1)) if (portion.end > portion.begin) return true;
  return false;
}

/**
 * Up to `limit` rows from `start` on. While the job runs, a pending shard ends the finished part; when it has
 * ended (cancelled), it is a gap that stays.
 */
async function* portions(
  ledger: Ledger,
  job: JobRecord,
  start: ResultPosition,
  limit: number,
): AsyncGenerator<Portion> {
  let left = limit;
  for await (const shard of ledger.shards(job.id, start.ordinal)) {
    if (left <= 0) return;
    if (shard.state === 'pending') {
      if (isEnded(job)) continue;
      return;
    }
    const begin = shard.ordinal === start.ordinal ? Math.min(start.position, shard.rows ?? 0) : 0;
    const end = Math.min(shard.rows ?? 0, begin + left);
    left -= end - begin;
    yield { shard, begin, end };
  }
}

async function* readColumns(
  { storage }: ResultDeps,
  job: JobRecord,
  wanted: AsyncIterable<Portion>,
  signal: AbortSignal | undefined,
): AsyncGenerator<ResultColumns> {
  for await (const { shard, begin, end } of wanted) {
    signal?.throwIfAborted();
    if (begin < end) yield sliceColumns(await readShardColumns(storage, job, shard), begin, end);
  }
}

/** The stored results of a shard that has some. Throws `job_not_found` when they were deleted meanwhile. */
export async function readShardColumns(
  storage: BlobStore,
  job: Pick<JobRecord, 'id'>,
  shard: ShardRecord,
): Promise<ResultColumns> {
  const bytes = shard.resultKey === undefined ? undefined : await storage.get(shard.resultKey);
  if (bytes !== undefined) return readArrow(bytes);
  throw new TrivecError('job_not_found', `The results of job ${job.id} are not there any more.`);
}

async function* ndjsonLines(shards: AsyncIterable<ResultColumns>): AsyncGenerator<Uint8Array> {
  const out = new JsonBytes();
  for await (const columns of shards)
    for (let row = 0; row < columns.length; row++)
      for (const _ of writeResultLine(out, columns, row, CHUNK_BYTES)) {
        yield out.take();
        // Others wait for this thread, too: a fast reader must not keep it.
        if (isTurnOver()) await nextTurn();
      }
  if (out.length > 0) yield out.take();
}
