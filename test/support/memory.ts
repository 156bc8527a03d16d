import { Readable } from 'node:stream';
import type { TrivecError } from '@trivec/core/errors';
import type { JobRecord, ShardRecord } from '@trivec/core/jobs/records';
import type { LedgerStore } from '@trivec/core/ledger/ledgerStore';
import type { QueueItem, WorkQueue } from '@trivec/core/queue/workQueue';
import type { BlobStore } from '@trivec/core/storage/blobStore';

/** A ledger that lives in this process. Records are copied in and out, as a server would. */
export class MemoryLedger implements LedgerStore {
  readonly jobs = new Map<string, JobRecord>();
  readonly shards = new Map<string, Map<number, ShardRecord>>();
  readonly notes = new Map<string, string>();

  async putShards(jobId: string, shards: readonly ShardRecord[]): Promise<void> {
    const known = this.shards.get(jobId) ?? new Map<number, ShardRecord>();
    this.shards.set(jobId, known);
    for (const shard of shards) known.set(shard.ordinal, structuredClone(shard));
  }

  async commitJob(job: JobRecord): Promise<string> {
    const holder = job.idempotency && this.findKeyed(job.idempotency.digest);
    if (holder) return holder.id;
    this.jobs.set(job.id, structuredClone(job));
    return job.id;
  }

  async readKeyedJob(digest: string): Promise<JobRecord | undefined> {
    return structuredClone(this.findKeyed(digest));
  }

  private findKeyed(digest: string): JobRecord | undefined {
    return [...this.jobs.values()].find(({ idempotency }) => idempotency?.digest === digest);
  }

  async readJob(jobId: string): Promise<JobRecord | undefined> {
    return structuredClone(this.jobs.get(jobId));
  }

  async readShards(jobId: string, fromOrdinal: number, limit: number): Promise<ShardRecord[]> {
    return [...(this.shards.get(jobId)?.values() ?? [])]
      .filter(({ ordinal }) => ordinal >= fromOrdinal)
      .sort((a, b) => a.ordinal - b.ordinal)
      .slice(0, limit)
      .map((shard) => structuredClone(shard));
  }

  async compareAndSwap(job: JobRecord, shards: readonly ShardRecord[] = []): Promise<boolean> {
    if (this.jobs.get(job.id)?.version !== job.version) return false;
    this.jobs.set(job.id, structuredClone({ ...job, version: job.version + 1 }));
    await this.putShards(job.id, shards);
    return true;
  }

  async writeNote(jobId: string, ordinal: number, note: string | undefined): Promise<void> {
    if (note === undefined) this.notes.delete(`${jobId}.${ordinal}`);
    else this.notes.set(`${jobId}.${ordinal}`, note);
  }

  async readNote(jobId: string, ordinal: number): Promise<string | undefined> {
    return this.notes.get(`${jobId}.${ordinal}`);
  }

  async listJobs(query: { owner?: string; limit: number; cursor?: string }) {
    const jobs = [...this.jobs.values()]
      .filter(({ owner }) => query.owner === undefined || owner === query.owner)
      .reverse();
    const from = query.cursor === undefined ? 0 : Number(query.cursor);
    const page = structuredClone(jobs.slice(from, from + query.limit));
    return from + query.limit < jobs.length
      ? { jobs: page, cursor: String(from + query.limit) }
      : { jobs: page };
  }

  async listOpenJobs(): Promise<string[]> {
    return [...this.jobs.values()]
      .filter(({ status }) => status === 'queued' || status === 'running' || status === 'paused')
      .map(({ id }) => id);
  }

  async deleteJob(jobId: string): Promise<void> {
    this.jobs.delete(jobId);
    this.shards.delete(jobId);
    for (const key of [...this.notes.keys()]) if (key.startsWith(`${jobId}.`)) this.notes.delete(key);
  }
}

/** Items in order of arrival; nothing consumes them but the test. */
export class MemoryQueue<T> implements WorkQueue<T> {
  readonly items = new Map<string, QueueItem<T>>();

  async add(items: readonly QueueItem<T>[]): Promise<void> {
    for (const item of items) if (!this.items.has(item.id)) this.items.set(item.id, item);
  }

  async consume(): Promise<never> {
    throw new Error('a MemoryQueue is emptied by hand');
  }

  async remove(ids: readonly string[]): Promise<void> {
    for (const id of ids) this.items.delete(id);
  }

  async present(ids: readonly string[]): Promise<Set<string>> {
    return new Set(ids.filter((id) => this.items.has(id)));
  }

  async counts() {
    return { waiting: this.items.size, active: 0, delayed: 0 };
  }

  async close(): Promise<void> {}
}

/** Blobs in a map. `failPut` makes puts fail from a chosen one on. */
export class MemoryStorage implements BlobStore {
  readonly description = 'memory';
  readonly blobs = new Map<string, { body: Buffer; modifiedAtMs: number }>();
  failPut: ((key: string, puts: number) => TrivecError | undefined) | undefined;
  nowMs: () => number = Date.now;
  free = 1e12;
  private puts = 0;

  async put(key: string, body: Uint8Array): Promise<void> {
    const failure = this.failPut?.(key, ++this.puts);
    if (failure !== undefined) throw failure;
    this.blobs.set(key, { body: Buffer.from(body), modifiedAtMs: this.nowMs() });
  }

  async get(key: string): Promise<Buffer | undefined> {
    return this.blobs.get(key)?.body;
  }

  async stream(key: string): Promise<Readable | undefined> {
    const body = await this.get(key);
    return body && Readable.from([body]);
  }

  async freeBytes(): Promise<number> {
    return this.free;
  }

  async *list(prefix: string): AsyncGenerator<{ key: string; bytes: number; modifiedAtMs: number }> {
    for (const [key, { body, modifiedAtMs }] of [...this.blobs])
      if (key.startsWith(prefix)) yield { key, bytes: body.length, modifiedAtMs };
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) this.blobs.delete(key);
  }

  async deletePrefix(prefix: string): Promise<void> {
    for (const key of [...this.blobs.keys()]) if (key.startsWith(prefix)) this.blobs.delete(key);
  }

  async close(): Promise<void> {}
}
