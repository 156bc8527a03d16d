import { randomBytes } from 'node:crypto';
import type { BlobStore } from '../storage/blobStore.ts';
import { parseErrors, serializeErrors } from './errorsList.ts';
import type { RetryEvent } from './jobEvents.ts';
import { retryKeys } from './keys.ts';
import type { Ledger } from './ledger.ts';
import type { Document, DocumentError, JobRecord, ShardRecord } from './records.ts';
import { type CutShard, readWholeShard, ShardCutter, type ShardLimits } from './shardCutter.ts';
import { isEnded } from './stateMachine.ts';
import { UPLOAD_SILENCE_MS } from './uploadWriter.ts';

export interface RetryDeps {
  ledger: Ledger;
  storage: BlobStore;
  limits: ShardLimits;
  /** Of shards, in the one write that a retry is. */
  maxRecords?: number;
}

export interface PlannedRetry {
  /** Undefined where no failed document can be tried again. */
  event: RetryEvent | undefined;
  /** What was stored for it: to be removed when the event is refused. */
  keys: string[];
}

/**
 * Records of shards in one write: Redis does nothing else meanwhile, and this many take it some ten milliseconds. At 256
 * documents a shard that is more than two million failed documents.
 */
const MAX_RECORDS = 20_000;

/**
 * Stores the failed documents of a job as shards behind its own. Each takes the errors of its documents along,
 * so that every failed document is listed once at any moment. What only the destination refused is not
 * among them (`ingest` sends it again), nor what the storage lost. A plan ends where it becomes too large for one write,
 * or so old that the sweep might take its first blobs for a leftover: what it did not come to stays listed as failed,
 * for the next retry.
 */
export async function planRetry(deps: RetryDeps, job: JobRecord): Promise<PlannedRetry> {
  const keys: string[] = [];
  try {
    return { event: await storeFailed(deps, job, keys), keys };
  } catch (error) {
    await deps.storage.delete(keys);
    throw error;
  }
}

/** Whether failed documents are being tried again now: shards are added only to a job whose others are all stored. */
export async function isRetrying(ledger: Ledger, job: JobRecord): Promise<boolean> {
  const { stored, total } = job.shards;
  if (isEnded(job)) return false;
  // Only a retry has anything to write to a destination that is in order already.
  if (stored === total) return job.sink?.finished === true;
  const last = await ledger.readShard({ jobId: job.id, ordinal: total - 1 });
  return last?.isRetry === true;
}

async function storeFailed(
  { ledger, storage, limits, maxRecords = MAX_RECORDS }: RetryDeps,
  job: JobRecord,
  keys: string[],
): Promise<RetryEvent | undefined> {
  const attempt = randomBytes(8).toString('hex');
  const cutter = new ShardCutter(limits);
  const changed: ShardRecord[] = [];
  const added: ShardRecord[] = [];
  const retried = new Set<string>();
  let errors: DocumentError[] = [];

  const put = async (key: string, body: Buffer) => {
    keys.push(key);
    await storage.put(key, body);
  };
  const append = async (cut: CutShard | undefined) => {
    if (cut === undefined) return;
    const { inputKey, errorsKey } = retryKeys(job.id, attempt, added.length);
    await put(inputKey, cut.body);
    await put(errorsKey, serializeErrors(errors.slice(0, cut.documents)));
    errors = errors.slice(cut.documents);
    const { documents, textBytes } = cut;
    const ordinal = job.shards.total + added.length;
    added.push({ ordinal, state: 'pending', documents, textBytes, inputKey, errorsKey, isRetry: true });
  };

  const untilMs = Date.now() + UPLOAD_SILENCE_MS;
  for await (const shard of ledger.shards(job.id)) {
    if (changed.length + added.length >= maxRecords || Date.now() > untilMs) break;
    if (shard.errorsKey === undefined || shard.counts === undefined) continue;
    const listed = parseErrors(await storage.get(shard.errorsKey));
    const documents = await readById(storage, shard);
    const again = listed.filter(({ id, code }) => code !== 'sink_rejected' && documents.has(id));
    if (again.length === 0) continue;
    for (const error of again) {
      const full = cutter.add(documents.get(error.id)!);
      await append(full);
      errors.push(error);
      retried.add(error.id);
    }
    const kept = listed.filter((error) => !again.includes(error));
    const { errorsKey: _, ...rest } = shard;
    const next: ShardRecord = {
      ...rest,
      counts: { ...shard.counts, failed: shard.counts.failed - again.length },
    };
    if (kept.length > 0) {
      next.errorsKey = retryKeys(job.id, attempt, `kept.${shard.ordinal}`).errorsKey;
      await put(next.errorsKey, serializeErrors(kept));
    }
    changed.push(next);
  }
  await append(cutter.rest());
  if (added.length === 0) return undefined;
  const shown = job.errors.filter(({ id, code }) => code === 'sink_rejected' || !retried.has(id));
  return { type: 'retry', added, changed, errors: shown };
}

async function readById(storage: BlobStore, shard: ShardRecord): Promise<Map<string, Document>> {
  const body = await storage.get(shard.inputKey);
  const documents = (body && readWholeShard(body, shard)) ?? [];
  return new Map(documents.map((document) => [document.id, document]));
}
