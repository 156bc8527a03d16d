import type { Backend } from '@trivec/core/backend/backend';
import type { Config } from '@trivec/core/config';
import { JobService } from '@trivec/core/jobs/jobService';
import { Ledger } from '@trivec/core/jobs/ledger';
import type { JobRecord } from '@trivec/core/jobs/records';
import { DEAD_UPLOAD_AFTER_MS, sweepStorage } from '@trivec/core/jobs/sweep';
import type { BlobStore } from '@trivec/core/storage/blobStore';
import type { Logger } from '@trivec/core/telemetry/logger';
import type { Redis } from 'ioredis';
import { checkCollections, checkPoints } from './checkQdrant.ts';
import type { Corpus } from './corpus.ts';
import { resultRows } from './results.ts';

export interface CheckDeps {
  backend: Backend;
  storage: BlobStore;
  config: Config;
  logger: Logger;
  /** Where the backend is one. */
  redis?: Redis;
  /** Where jobs have a destination: the server, and how the names of their collections begin. */
  destination?: { url: string; prefix: string };
}

export interface CheckedJob {
  id: string;
  rows: number;
  /** Largest difference of any number of a vector from the undisturbed job's. */
  maxDifference: number;
  faults: string[];
}

/** In fp32 a text gets the same vector in any batch, within this. */
const TOLERANCE = 1e-5;
const SHOWN = 5;

type Vectors = Map<string, Float32Array>;

/** Dense vectors by id and chunk; faults for ids that are missing, foreign, or there more than once. */
async function readVectors(
  service: JobService,
  job: JobRecord,
  corpus: Corpus,
  faults: string[],
): Promise<Vectors> {
  const vectors: Vectors = new Map();
  const seen = new Set<string>();
  for await (const { id, chunk, dense } of resultRows(service, job)) {
    const key = `${id}/${chunk}`;
    if (vectors.has(key)) faults.push(`${key} is there more than once`);
    vectors.set(key, Float32Array.from(dense));
    seen.add(id);
  }
  const order = [...seen];
  const missing = corpus.ids.filter((id) => !seen.has(id));
  if (missing.length > 0)
    faults.push(
      `${missing.length} of ${corpus.ids.length} documents have no vector: ${missing.slice(0, SHOWN)}`,
    );
  if (missing.length === 0 && order.some((id, i) => id !== corpus.ids[i])) faults.push('not in input order');
  return vectors;
}

/** Compares every job with the undisturbed one, which comes first, then looks for what should not be there. */
export async function checkAll(
  deps: CheckDeps,
  corpus: Corpus,
  ids: readonly string[],
): Promise<CheckedJob[]> {
  const service = new JobService(deps);
  const checked: CheckedJob[] = [];
  let reference: Vectors | undefined;
  for (const id of ids) {
    const faults: string[] = [];
    const job = await deps.backend.ledger.readJob(id);
    if (job === undefined) {
      checked.push({ id, rows: 0, maxDifference: 0, faults: ['its record is gone'] });
      continue;
    }
    await checkCounts(deps, job, corpus, faults);
    const vectors = await readVectors(service, job, corpus, faults);
    reference ??= vectors;
    checked.push({ id, rows: vectors.size, maxDifference: compare(reference, vectors, faults), faults });
    if (deps.destination === undefined || (await isSuperseded(deps, job, ids))) continue;
    faults.push(...(await checkPoints(deps.destination.url, service, job, corpus)));
  }
  return checked;
}

/** A later job has replaced what this one had built. */
async function isSuperseded(
  { backend }: CheckDeps,
  job: JobRecord,
  ids: readonly string[],
): Promise<boolean> {
  if (job.sink?.alias === undefined) return false;
  const later = ids.slice(ids.indexOf(job.id) + 1);
  const records = await Promise.all(later.map((id) => backend.ledger.readJob(id)));
  return records.some((other) => other?.sink?.alias === job.sink?.alias);
}

async function checkCounts(
  { backend, destination }: CheckDeps,
  job: JobRecord,
  corpus: Corpus,
  faults: string[],
): Promise<void> {
  const documents = corpus.ids.length;
  const expected = { documents, embedded: documents, written: destination ? documents : 0, failed: 0 };
  if (JSON.stringify(job.counts) !== JSON.stringify(expected))
    faults.push(`counts: ${JSON.stringify(job.counts)}`);
  if (job.status !== 'completed') faults.push(`status: ${job.status}`);
  const sums = { shards: 0, embedded: 0, tokens: 0 };
  for await (const { counts, tokens = 0 } of new Ledger(backend.ledger).shards(job.id)) {
    sums.shards++;
    sums.embedded += counts?.embedded ?? 0;
    sums.tokens += tokens;
  }
  const { total, stored } = job.shards;
  if (sums.shards !== total || stored !== total || sums.embedded !== documents || sums.tokens !== job.tokens)
    faults.push(
      `shards do not add up: ${JSON.stringify(sums)}, job ${JSON.stringify(job.shards)} ${job.tokens}`,
    );
}

function compare(reference: Vectors, vectors: Vectors, faults: string[]): number {
  let largest = 0;
  const off: string[] = [];
  for (const [id, vector] of vectors) {
    const other = reference.get(id);
    if (other === undefined || other.length !== vector.length) {
      off.push(id);
      continue;
    }
    let difference = 0;
    for (let i = 0; i < vector.length; i++)
      difference = Math.max(difference, Math.abs(vector[i]! - other[i]!));
    largest = Math.max(largest, difference);
    if (!(difference <= TOLERANCE)) off.push(id);
  }
  if (off.length > 0)
    faults.push(`${off.length} vectors differ from the undisturbed job: ${off.slice(0, SHOWN)}`);
  return largest;
}

/** What is left in queue, storage and ledger beside the jobs; then of the jobs themselves, once they are deleted. */
export async function checkLeftovers(deps: CheckDeps, ids: readonly string[]): Promise<string[]> {
  const { backend, storage, logger } = deps;
  const faults: string[] = [];
  const ledger = new Ledger(backend.ledger);
  const service = new JobService(deps);
  const open = await backend.ledger.listOpenJobs();
  if (open.length > 0) faults.push(`open jobs: ${open}`);
  const records = await Promise.all(ids.map((id) => backend.ledger.readJob(id)));
  for (const fingerprint of new Set(records.flatMap((job) => (job ? [job.model.fingerprint] : [])))) {
    const counts = await backend.shardQueue(fingerprint).counts();
    if (counts.waiting + counts.active + counts.delayed > 0) faults.push(`queue: ${JSON.stringify(counts)}`);
  }
  const sinkCounts = await backend.sinkQueue().counts();
  if (sinkCounts.waiting + sinkCounts.active + sinkCounts.delayed > 0)
    faults.push(`sink queue: ${JSON.stringify(sinkCounts)}`);
  if (deps.destination !== undefined) {
    const there = records.filter((job) => job !== undefined);
    faults.push(...(await checkCollections(deps.destination.url, deps.destination.prefix, there)));
  }
  // What the sweep would do when dead uploads are old enough to be sure of it.
  await sweepStorage({ ledger, storage, logger }, Date.now() + 2 * DEAD_UPLOAD_AFTER_MS);
  const expected = new Set<string>();
  for (const id of ids)
    for await (const { inputKey, resultKey } of ledger.shards(id)) {
      expected.add(inputKey);
      if (resultKey !== undefined) expected.add(resultKey);
    }
  const found = await keysOf(storage);
  for (const key of found) if (!expected.delete(key)) faults.push(`storage: ${key} belongs to nothing`);
  for (const key of expected) faults.push(`storage: ${key} is missing`);
  const { jobs } = await backend.ledger.listJobs({ limit: 100 });
  for (const { id } of jobs) if (!ids.includes(id)) faults.push(`ledger: job ${id} was never acknowledged`);

  for (const id of ids) await service.delete(id, { owner: '', admin: true });
  for (const key of await keysOf(storage)) faults.push(`storage, after deletion: ${key}`);
  if ((await backend.ledger.listJobs({ limit: 100 })).jobs.length > 0)
    faults.push('jobs are listed after deletion');
  if (deps.redis !== undefined)
    for (const key of await deps.redis.keys(`${deps.config.keyPrefix}*`))
      if (key.includes('job_')) faults.push(`Redis, after deletion: ${key}`);
  return faults.length > SHOWN * 4 ? [...faults.slice(0, SHOWN * 4), `… ${faults.length} in all`] : faults;
}

async function keysOf(storage: BlobStore): Promise<string[]> {
  const keys: string[] = [];
  for (const prefix of ['input/', 'results/'])
    for await (const { key } of storage.list(prefix)) keys.push(key);
  return keys;
}
