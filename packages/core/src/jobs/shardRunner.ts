import type { Config } from '../config.ts';
import type { Engine } from '../engine/types.ts';
import { TrivecError, toTrivecError } from '../errors.ts';
import type { LedgerStore } from '../ledger/ledgerStore.ts';
import type { ShardPointer } from '../queue/workQueue.ts';
import type { BlobStore } from '../storage/blobStore.ts';
import type { Logger } from '../telemetry/logger.ts';
import { arrowFile } from '../vectors/arrow.ts';
import { columnsOf } from '../vectors/resultColumns.ts';
import type { EmbeddedDocuments } from './embedDocuments.ts';
import { embedShardDocuments } from './embedShard.ts';
import { serializeErrors } from './errorsList.ts';
import { FAILURES_TO_GIVE_UP, Flight, type ShardHolder, THIS_PROCESS } from './flight.ts';
import type { JobTexts, ShardTexts } from './jobTexts.ts';
import { attemptKeys } from './keys.ts';
import { Ledger, type LedgerResult, type TakenShard } from './ledger.ts';
import type { Document, DocumentError, JobRecord, ShardRecord } from './records.ts';
import { readWholeShard } from './shardCutter.ts';
import { isEnded, SHOWN_ERRORS } from './stateMachine.ts';

export interface ShardRunnerDeps {
  ledger: LedgerStore;
  storage: BlobStore;
  engine: Engine;
  logger: Logger;
  /** What all shards of a process share; the process itself when absent. */
  holder?: ShardHolder;
  /** What all shards of a process know of each other's texts; each runs all of its own when absent. */
  texts?: JobTexts;
  config?: Partial<Pick<Config, 'maxDocumentResultBytes'>>;
}

export type ShardOutcome =
  | {
      stored: true;
      embedded: number;
      failed: number;
      tokens: number;
      /** Of the stored vectors; 0 where every document failed. */
      resultBytes: number;
      /** Texts that another shard of the job had run. */
      twins: number;
      durationMs: number;
      /** It has to go to the sink queue now, of this server. */
      destination?: { target: string | undefined };
    }
  /** Nothing was left to do, or somebody else was first. */
  | { stored: false; reason: Extract<TakenShard, { ok: false }>['reason'] };

/** Between batches the job is looked at this often: a cancelled one stops. */
const CANCEL_CHECK_MS = 1000;

/**
 * The life of one shard: ask the ledger, read, embed, write the results under a key of this attempt, and
 * record them by compare-and-set. Any number of holders may run the same shard: one is counted.
 * A full storage pauses the job. Throws what is worth another try (`storage_unavailable`,
 * `backend_unavailable`, `model_unavailable`, `shutting_down`): the queue gives the shard back. Any other error is
 * thrown twice, for the reconciler to bring the shard back; the third fails its documents with that reason.
 */
export async function runShard(
  deps: ShardRunnerDeps,
  pointer: ShardPointer,
  signal: AbortSignal,
): Promise<ShardOutcome> {
  try {
    return await attempt(deps, pointer, signal);
  } catch (error) {
    if (error instanceof TrivecError && error.code === 'storage_full') return pauseFull(deps, pointer);
    throw error;
  }
}

async function attempt(
  deps: ShardRunnerDeps,
  pointer: ShardPointer,
  signal: AbortSignal,
): Promise<ShardOutcome> {
  const startedAtMs = Date.now();
  const taken = await new Ledger(deps.ledger).take(pointer);
  if (!taken.ok) return { stored: false, reason: taken.reason };
  const { job, shard } = taken;
  const texts = deps.texts?.of(job.id);
  try {
    const result = await embedShard(deps, job, shard, { signal, texts });
    const outcome = await record(deps, taken, result, startedAtMs);
    return outcome.stored ? { ...outcome, twins: texts?.twins ?? 0 } : outcome;
  } catch (error) {
    if (error instanceof TrivecError && error.code === 'cancelled') {
      // The engine says `cancelled` of every aborted call; why it was aborted is in the signal.
      if (signal.reason instanceof TrivecError && signal.reason.retryable) throw signal.reason;
      return { stored: false, reason: 'cancelled' };
    }
    if (error instanceof TrivecError && error.retryable) throw error;
    const { ledger, logger, holder = THIS_PROCESS } = deps;
    const failures = await Flight.noteFailure(ledger, pointer, holder.id);
    if (failures < FAILURES_TO_GIVE_UP) throw error;
    logger.error({ err: error, ...pointer, failures }, 'a shard is given up: its documents fail');
    return record(deps, taken, await givenUp(deps, shard, toTrivecError(error)), startedAtMs);
  }
}

/** Stores and records what an attempt made. */
async function record(
  deps: ShardRunnerDeps,
  { job, shard }: Extract<TakenShard, { ok: true }>,
  result: EmbeddedShard,
  startedAtMs: number,
): Promise<ShardOutcome> {
  const recorded = await store(deps, job, shard, result, startedAtMs);
  if (!recorded.ok) return { stored: false, reason: recorded.reason };
  const durationMs = Date.now() - startedAtMs;
  const { embedded, tokens, file } = result;
  const failed = shard.documents - embedded;
  const { ordinal, documents } = shard;
  deps.logger.debug({ jobId: job.id, ordinal, documents, failed, durationMs }, 'shard stored');
  const destination = job.sink && { target: job.options.destination?.target };
  return {
    stored: true,
    embedded,
    failed,
    tokens,
    resultBytes: file?.byteLength ?? 0,
    twins: 0,
    durationMs,
    ...(destination && { destination }),
  };
}

/** Every document fails with the reason, so that `retry` can try them again. */
async function givenUp(
  { storage }: ShardRunnerDeps,
  shard: ShardRecord,
  { code, message }: TrivecError,
): Promise<EmbeddedShard> {
  const body = await storage.get(shard.inputKey);
  const documents = body && readWholeShard(body, shard);
  if (documents === undefined) return unreadable(shard, `could not be embedded: ${message}`);
  return allFailed(documents, { code, message });
}

function allFailed(
  documents: readonly Document[],
  error: Pick<DocumentError, 'code' | 'message'>,
): EmbeddedShard {
  const errors = documents.map(({ id }) => ({ id, ...error }));
  return { rows: [], embedded: 0, errors, tokens: 0, truncated: 0 };
}

/** To try again would fill the log and nothing else: the reconciler resumes the job when there is room. */
async function pauseFull(
  { ledger, logger }: ShardRunnerDeps,
  { jobId }: ShardPointer,
): Promise<ShardOutcome> {
  const paused = await new Ledger(ledger).applyToJob(jobId, { type: 'pause', reason: 'storage_full' });
  if (paused.ok) logger.warn({ jobId }, 'the storage is full: the job pauses until there is room');
  return {
    stored: false,
    reason: paused.ok || paused.reason === 'already_paused' ? 'paused' : paused.reason,
  };
}

/** What an attempt has to store; `file` (Arrow) where there are rows. */
type EmbeddedShard = EmbeddedDocuments & { file?: Uint8Array };

async function embedShard(
  { ledger, storage, engine, logger, holder = THIS_PROCESS, config = {} }: ShardRunnerDeps,
  job: JobRecord,
  shard: ShardRecord,
  { signal, texts }: { signal: AbortSignal; texts: ShardTexts | undefined },
): Promise<EmbeddedShard> {
  const body = await storage.get(shard.inputKey);
  const checkJob = async () => {
    const current = await ledger.readJob(job.id);
    if (current === undefined || isEnded(current))
      throw new TrivecError('cancelled', 'The job has ended meanwhile.');
  };
  if (body === undefined) {
    await checkJob();
    return unreadable(shard, 'are missing from the storage');
  }
  let checkedAtMs = Date.now();
  const beforeBatch = async () => {
    signal.throwIfAborted();
    if (Date.now() - checkedAtMs < CANCEL_CHECK_MS) return;
    checkedAtMs = Date.now();
    await checkJob();
  };
  const documents = readWholeShard(body, shard);
  if (documents === undefined) return unreadable(shard, 'cannot be read: their blob is damaged');
  const pointer = { jobId: job.id, ordinal: shard.ordinal };
  const flight = await Flight.open(ledger, pointer, holder.id);
  const result = await inFlight(flight, () =>
    embedShardDocuments(engine, documents, job.options, {
      signal,
      beforeBatch,
      flight,
      holder,
      maxResultBytes: config.maxDocumentResultBytes,
      texts,
    }),
  );
  if (result.rows.length === 0) return result;
  try {
    return { ...result, file: await resultFile(job, result) };
  } catch (error) {
    // Vectors that are not of the job's shape: the next try would give the same, for ever.
    logger.error({ err: error, jobId: job.id, ordinal: shard.ordinal }, 'the engine gave unfit vectors');
    const message = 'The engine gave vectors that do not fit the job.';
    return allFailed(documents, { code: 'internal', message });
  }
}

async function resultFile(job: JobRecord, { rows }: EmbeddedDocuments): Promise<Uint8Array> {
  const { name, fingerprint, denseDims, colbertDims } = job.model;
  const columns = await columnsOf(
    rows,
    job.options.outputs,
    {
      ...(denseDims !== undefined && { dense: denseDims }),
      ...(colbertDims !== undefined && { colbert: colbertDims }),
    },
    { spans: job.options.chunking !== undefined },
  );
  return arrowFile(columns, { model: name, fingerprint });
}

/** Failing is no death: what the note says of the flight must not be read as one. Best effort, like the note. */
async function inFlight<T>(flight: Flight, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await flight.depart([], false).catch(() => undefined);
    throw error;
  }
}

/** Their ids went with the blob; one entry stands for all of them, so that the job can end and say so. */
function unreadable(shard: ShardRecord, reason: string): EmbeddedShard {
  const message = `The ${shard.documents} documents of shard ${shard.ordinal} ${reason}.`;
  return {
    rows: [],
    embedded: 0,
    errors: [{ id: '', code: 'internal', message }],
    tokens: 0,
    truncated: 0,
  };
}

async function store(
  { ledger, storage }: ShardRunnerDeps,
  job: JobRecord,
  shard: ShardRecord,
  { rows, embedded, errors, tokens, truncated, file }: EmbeddedShard,
  startedAtMs: number,
): Promise<LedgerResult> {
  const keys = attemptKeys(job.id, shard.ordinal);
  const written: string[] = [];
  if (file !== undefined) {
    await storage.put(keys.resultKey, file);
    written.push(keys.resultKey);
  }
  if (errors.length > 0) {
    await storage.put(keys.errorsKey, serializeErrors(errors));
    written.push(keys.errorsKey);
  }
  const recorded = await new Ledger(ledger).applyToShard(
    { jobId: job.id, ordinal: shard.ordinal },
    {
      type: 'shardStored',
      counts: { embedded, failed: shard.documents - embedded },
      rows: rows.length,
      tokens,
      tookMs: Date.now() - startedAtMs,
      truncated,
      errors: errors.slice(0, SHOWN_ERRORS),
      ...(file !== undefined && { resultKey: keys.resultKey }),
      ...(errors.length > 0 && { errorsKey: keys.errorsKey }),
    },
  );
  if (!recorded.ok) await storage.delete(written);
  await ledger.writeNote(job.id, shard.ordinal, undefined).catch(() => undefined);
  return recorded;
}
