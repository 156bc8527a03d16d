import { TrivecError } from '../errors.ts';
import type { LedgerStore } from '../ledger/ledgerStore.ts';
import type { ShardPointer } from '../queue/workQueue.ts';
import type { SinkObserver } from '../sinks/qdrant/client.ts';
import { isKeyRefused, isRefusal } from '../sinks/qdrant/failure.ts';
import { deferIndexing, readHnswM, restoreIndexing } from '../sinks/qdrant/lifecycle.ts';
import type { QdrantSink } from '../sinks/qdrant/open.ts';
import type { WriteReport } from '../sinks/qdrant/writer.ts';
import type { BlobStore } from '../storage/blobStore.ts';
import type { Logger } from '../telemetry/logger.ts';
import { serializeErrors } from './errorsList.ts';
import { attemptKeys } from './keys.ts';
import { Ledger, type LedgerResult } from './ledger.ts';
import { type DocumentError, isWritten, type JobRecord, type ShardRecord } from './records.ts';
import { finishSink } from './sinkFinish.ts';
import { SinkStalls } from './sinkStalls.ts';
import { lostShard, NOTHING_TO_WRITE, waitForKey } from './sinkWrite.ts';
import type { SinkWriter } from './sinkWriter.ts';
import { isEnded, SHOWN_ERRORS } from './stateMachine.ts';

export interface SinkStageDeps {
  ledger: LedgerStore;
  storage: BlobStore;
  /** The server that this lane serves, of QDRANT_TARGETS; absent: the one of QDRANT_URL. */
  target?: string | undefined;
  /** For everything but points. */
  sink: QdrantSink;
  writer: SinkWriter;
  logger: Logger;
  observer?: SinkObserver;
}

export type SinkOutcome =
  | { written: true; documents: number; points: number; durationMs: number }
  | { written: false; reason: Extract<LedgerResult, { ok: false }>['reason'] };

/** A job that is cancelled while its shard is written is noticed this soon. */
const CANCEL_CHECK_MS = 1000;

/**
 * The second life of a shard: its stored results go to the destination, then `stored → written` by
 * compare-and-set. Any number of holders may run the same shard: ids are the same each time, and one is
 * counted. Whoever finds that all shards are written, or the job cancelled, puts the destination in order.
 * Throws what is worth another try, after the job says so (`sink_unavailable`, `storage_unavailable`, `backend_unavailable`,
 * `shutting_down`).
 */
export async function runSinkShard(
  deps: SinkStageDeps,
  pointer: ShardPointer,
  signal: AbortSignal,
): Promise<SinkOutcome> {
  const ledger = new Ledger(deps.ledger);
  const job = await deps.ledger.readJob(pointer.jobId);
  if (job === undefined) return { written: false, reason: 'gone' };
  if (job.status === 'paused') return { written: false, reason: 'paused' };
  // An ingestion to another server has begun since this was queued.
  if (job.options.destination?.target !== deps.target) return { written: false, reason: 'other_run' };
  const stalls = new SinkStalls(ledger, job);
  const observer = { ...deps.observer, onStall: (reason: string) => stalls.add(reason) };
  try {
    return await writeAndFinish({ ...deps, observer, stalls }, ledger, job, pointer, signal);
  } catch (error) {
    const waits = isKeyRefused(error) ? waitForKey(error) : error;
    if (waits instanceof TrivecError && waits.code === 'sink_unavailable' && job.sink !== undefined)
      await ledger.applyToJob(job.id, { type: 'sinkWaits', run: job.sink.run, reason: waits.message });
    throw waits;
  }
}

type WritingDeps = SinkStageDeps & { stalls: SinkStalls };

async function writeAndFinish(
  deps: WritingDeps,
  ledger: Ledger,
  job: JobRecord,
  pointer: ShardPointer,
  signal: AbortSignal,
): Promise<SinkOutcome> {
  const startedAtMs = Date.now();
  if (job.sink === undefined || isEnded(job)) {
    await finishSink(deps, ledger, job, signal);
    return { written: false, reason: job.status === 'cancelled' ? 'cancelled' : 'ended' };
  }
  const shard = await ledger.readShard(pointer);
  if (shard === undefined) return { written: false, reason: 'gone' };
  if (shard.state === 'pending') return { written: false, reason: 'not_stored' };
  if (isWritten(job, shard)) {
    await finishSink(deps, ledger, job, signal);
    return { written: false, reason: 'already_written' };
  }
  try {
    await deferOnce(deps, ledger, job, signal);
  } catch (error) {
    // What the destination refuses to be put off is not; writing shows whether it is there at all.
    if (!isRefusal(error)) throw error;
  }
  const report = await write(deps, job, shard, signal);
  if (report === undefined) return { written: false, reason: 'cancelled' };
  await deps.stalls.settled();
  const recorded = await record(deps, ledger, job, shard, { report, startedAtMs });
  if (!recorded.ok) return { written: false, reason: recorded.reason };
  await finishSink(deps, ledger, recorded.job, signal);
  const { documents, points } = report;
  return { written: true, documents, points, durationMs: Date.now() - startedAtMs };
}

/** Undefined when the job was cancelled meanwhile. */
async function write(
  deps: SinkStageDeps,
  job: JobRecord,
  shard: ShardRecord,
  signal: AbortSignal,
): Promise<WriteReport | undefined> {
  const { writer, storage, ledger, observer } = deps;
  if (shard.resultKey === undefined) return NOTHING_TO_WRITE;
  const [results, documents] = await Promise.all([storage.get(shard.resultKey), storage.get(shard.inputKey)]);
  if (results === undefined) {
    const current = await ledger.readJob(job.id);
    if (current === undefined || isEnded(current)) return undefined;
    const { ordinal, documents: count } = shard;
    return lostShard(
      `The results of the ${count} documents of shard ${ordinal} are missing from the storage.`,
    );
  }
  const cancelled = new AbortController();
  const watch = setInterval(() => {
    ledger.readJob(job.id).then(
      (current) => {
        if (current === undefined || isEnded(current) || current.sink?.run !== job.sink?.run)
          cancelled.abort(new TrivecError('cancelled', 'The job has ended.'));
      },
      // A ledger that does not answer says nothing; the compare-and-set will.
      () => undefined,
    );
  }, CANCEL_CHECK_MS);
  try {
    return await writer.write(
      {
        results,
        ...(documents !== undefined && { documents }),
        collection: job.sink!.collection,
        destination: job.options.destination!,
        mark: markOf(job),
      },
      { signal: AbortSignal.any([signal, cancelled.signal]), ...(observer && { observer }) },
    );
  } catch (error) {
    if (cancelled.signal.aborted) return undefined;
    throw error;
  } finally {
    clearInterval(watch);
  }
}

/** The job's id, with the number of the ingestion from the second on: points of an earlier one are told apart. */
function markOf({ id, sink }: JobRecord): string {
  return sink!.run === 1 ? id : `${id}.${sink!.run}`;
}

async function record(
  { storage }: SinkStageDeps,
  ledger: Ledger,
  job: JobRecord,
  shard: ShardRecord,
  { report, startedAtMs }: { report: WriteReport; startedAtMs: number },
): Promise<LedgerResult> {
  const { documents, failed, ...counts } = report;
  const errors = failed.map(({ id, message }): DocumentError => ({ id, code: 'sink_rejected', message }));
  let errorsKey: string | undefined;
  if (errors.length > 0) {
    const before = shard.errorsKey === undefined ? undefined : await storage.get(shard.errorsKey);
    errorsKey = attemptKeys(job.id, shard.ordinal).errorsKey;
    await storage.put(errorsKey, Buffer.concat([before ?? Buffer.alloc(0), serializeErrors(errors)]));
  }
  const recorded = await ledger.applyToShard(
    { jobId: job.id, ordinal: shard.ordinal },
    {
      type: 'shardWritten',
      run: job.sink!.run,
      documents,
      tookMs: Date.now() - startedAtMs,
      counts: { ...counts, refused: errors.length },
      errors: errors.slice(0, SHOWN_ERRORS),
      ...(errorsKey !== undefined && { errorsKey }),
    },
  );
  if (!recorded.ok && errorsKey !== undefined) await storage.delete([errorsKey]);
  return recorded;
}

/** Written down first, done second: a crash in between restores what was never changed, which harms nothing. */
async function deferOnce(
  { ledger: store, sink, observer }: WritingDeps,
  ledger: Ledger,
  job: JobRecord,
  signal: AbortSignal,
): Promise<void> {
  if (job.sink?.indexing !== 'toDefer') return;
  const { collection, run } = job.sink;
  const hnswM = await readHnswM(sink.connection, collection, { signal, observer });
  const recorded = await ledger.applyToJob(job.id, { type: 'sinkDeferred', run, hnswM });
  if (!recorded.ok) return;
  await deferIndexing(sink.connection, collection, { signal, observer });
  const current = await store.readJob(job.id);
  // Finished or cancelled in between, by someone who thought that this process was dead.
  if (current?.sink === undefined || current.sink.finished || current.sink.run !== run)
    await restoreIndexing(sink.connection, collection, hnswM);
}
