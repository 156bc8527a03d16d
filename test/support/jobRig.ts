import { strict as assert } from 'node:assert';
import type { Backend } from '@trivec/core/backend/backend';
import { executeTask } from '@trivec/core/engine/executeTask';
import type { EngineTask } from '@trivec/core/engine/tasks';
import { JobService } from '@trivec/core/jobs/jobService';
import type { JobRecord } from '@trivec/core/jobs/records';
import type { RequestedOptions, ResultQuery, Viewer } from '@trivec/core/jobs/serviceTypes';
import { runShard } from '@trivec/core/jobs/shardRunner';
import type { ModelInfo } from '@trivec/core/models/modelInfo';
import type { ShardPointer } from '@trivec/core/queue/workQueue';
import { createLogger } from '@trivec/core/telemetry/logger';
import { FAKE_MODEL, FakeEngine } from './fakeEngine.ts';
import { MemoryLedger, MemoryQueue, MemoryStorage } from './memory.ts';

export const ANYONE: Viewer = { owner: 'anonymous', admin: false };

const SMALL_CONFIG = {
  maxJobDocuments: 1000,
  maxJobBytes: 10_000_000,
  maxLineBytes: 10_000,
  shardMaxDocuments: 4,
  shardMaxBytes: 1000,
  reconcileIntervalMs: 60_000,
  sourceDirs: [] as readonly string[],
  maxOpenJobs: 1000,
  maxBacklogShards: 1_000_000,
  minFreeBytes: 0,
  requestTimeoutMs: 10_000,
};

/** A job service over memory, whose shards are run by hand. */
export function jobRig(config: Partial<typeof SMALL_CONFIG> = {}) {
  const ledger = new MemoryLedger();
  const storage = new MemoryStorage();
  const queue = new MemoryQueue<ShardPointer>();
  const engine = new FakeEngine();
  const logger = createLogger({ logLevel: 'silent' });
  // Only what jobs use of a backend.
  const workers: { model: ModelInfo; tokensPerSecond: number; maxBulkTokens?: number }[] = [
    { model: FAKE_MODEL, tokensPerSecond: 10 },
  ];
  const backend = {
    ledger,
    shardQueue: () => queue,
    claim: async () => true,
    registry: { list: async () => workers },
    interactive: {
      request: (_fingerprint: string, task: EngineTask, { deadlineAtMs }: { deadlineAtMs: number }) =>
        executeTask(engine, task, { deadlineAtMs, queuedMs: 0, signal: new AbortController().signal }),
    },
  } as unknown as Backend;
  const deps = { backend, storage, config: { ...SMALL_CONFIG, ...config }, logger };
  const service = new JobService(deps);
  const run = (pointer: ShardPointer, signal = new AbortController().signal) =>
    runShard({ ledger, storage, engine, logger }, pointer, signal);
  return {
    ledger,
    storage,
    queue,
    engine,
    logger,
    service,
    deps,
    workers,
    run,
    submit: (documents: unknown, options: RequestedOptions = {}): Promise<JobRecord> =>
      service.submit({
        source: { format: 'array', documents },
        options,
        model: FAKE_MODEL,
        owner: ANYONE.owner,
      }),
    submitLines: (body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<JobRecord> =>
      service.submit({
        source: { format: 'ndjson', body: body as AsyncIterable<Uint8Array> },
        options: {},
        model: FAKE_MODEL,
        owner: ANYONE.owner,
      }),
    /** Runs what waits, in order. */
    async drain(): Promise<void> {
      for (const [id, { data }] of [...queue.items]) {
        queue.items.delete(id);
        await run(data);
      }
    },
    async job(id: string): Promise<JobRecord> {
      const job = await ledger.readJob(id);
      assert.ok(job, `job ${id} is there`);
      return job;
    },
    /** A page of results as parsed lines. */
    async lines(id: string, query: Partial<ResultQuery> = {}) {
      const page = await service.results(id, ANYONE, { format: 'ndjson', ...query });
      const chunks: Uint8Array[] = [];
      for await (const chunk of page.body) chunks.push(chunk);
      const text = Buffer.concat(chunks).toString('utf8');
      const rows = text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as ResultLine);
      assert.equal(rows.length, page.rows, 'the announced number of rows');
      return { rows, nextCursor: page.nextCursor };
    },
    /** Nothing of any job is left. */
    assertEmpty(): void {
      assert.deepEqual([...ledger.jobs.keys()], []);
      assert.deepEqual([...ledger.shards.keys()], []);
      assert.deepEqual([...storage.blobs.keys()], []);
      assert.deepEqual([...queue.items.keys()], []);
    },
  };
}

export interface ResultLine {
  id: string;
  chunk: number;
  tokens: number;
  start?: number;
  end?: number;
  dense?: number[];
  sparse?: { indices: number[]; values: number[] };
  colbert?: number[][];
}

export function documents(count: number, text = (i: number) => `word number ${'x'.repeat(1 + (i % 5))}`) {
  return Array.from({ length: count }, (_, i) => ({ id: `d${i}`, text: text(i) }));
}
