/**
 * How fast points leave for Qdrant: `node bench/qdrant.ts` into the double, and into a real server where
 * QDRANT_TEST_URL names one. 1024 dimensions, 128 ColBERT rows of float16 a text, as shards hold them.
 * `blocked`: the share of time that a device fed from the same thread would wait because the thread encodes.
 */
import { execFileSync, fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { QdrantConnection } from '../packages/core/src/sinks/qdrant/client.ts';
import { collectionRules } from '../packages/core/src/sinks/qdrant/collection.ts';
import { resolveDestination, type VectorNames } from '../packages/core/src/sinks/qdrant/destination.ts';
import { makeCollection } from '../packages/core/src/sinks/qdrant/lifecycle.ts';
import type { SinkDocument } from '../packages/core/src/sinks/qdrant/points.ts';
import { writeDocuments } from '../packages/core/src/sinks/qdrant/writer.ts';
import { numbers } from '../test/support/sinkDocuments.ts';

const DIMS = 1024;
const ROWS = 128;
const WEIGHTS = 100;
/** What one batch takes on the pretended device. */
const BATCH_MS = 20;

const { values: options } = parseArgs({
  options: {
    documents: { type: 'string', default: '2000' },
    json: { type: 'string', default: 'bench/out' },
  },
});

const KINDS = {
  dense: { dense: 'dense' },
  'dense + sparse': { dense: 'dense', sparse: 'sparse' },
  'all three': { dense: 'dense', sparse: 'sparse', colbert: 'colbert' },
} as const;

interface Row {
  server: string;
  vectors: string;
  points: number;
  pointsPerSecond: number;
  megabytesPerSecond: number;
  retries: number;
  blockedPercent: number;
}

/** A few different texts, used in turn: what is sent is what costs. */
function corpus(count: number, names: VectorNames): SinkDocument[] {
  const next = numbers(1);
  const texts = Array.from({ length: 16 }, () => ({
    dense: Float32Array.from({ length: DIMS }, () => next() / 32),
    ...(names.sparse && {
      sparse: {
        indices: Uint32Array.from({ length: WEIGHTS }, (_, i) => i * 2500 + Math.floor((next() + 1) * 1000)),
        values: Float32Array.from({ length: WEIGHTS }, () => Math.abs(next()) + 0.01),
      },
    }),
    ...(names.colbert && {
      colbert: {
        rows: ROWS,
        dims: DIMS,
        data: Float16Array.from({ length: ROWS * DIMS }, () => next() / 32),
      },
    }),
    text: 'lorem ipsum '.repeat(40),
  }));
  return Array.from({ length: count }, (_, i) => ({ id: `doc-${i}`, texts: [texts[i % texts.length]!] }));
}

/** Waits like a device that is handed its next batch by this thread; says how late it was handed. */
async function pretendDevice(signal: AbortSignal): Promise<number> {
  let late = 0;
  const startedAt = performance.now();
  while (!signal.aborted) {
    const before = performance.now();
    await sleep(BATCH_MS);
    // Timers are a millisecond coarse.
    late += Math.max(0, performance.now() - before - BATCH_MS - 1);
  }
  return late / (performance.now() - startedAt);
}

async function measure(server: string, url: string, kind: keyof typeof KINDS, count: number): Promise<Row> {
  const connection = new QdrantConnection({
    url,
    timeoutMs: 120_000,
    concurrency: 4,
    retries: 5,
    retryDelayMs: 300,
  });
  const collection = `bench_${randomUUID()}`;
  const names = KINDS[kind];
  const rules = collectionRules(names, { dense: DIMS, colbert: DIMS, sparse: true });
  await makeCollection(connection, { action: 'create', collection }, rules);
  await connection.setHnswM(collection, 0);
  const documents = corpus(count, names);
  const done = new AbortController();
  const device = pretendDevice(done.signal);
  const startedAt = performance.now();
  const report = await writeDocuments(
    {
      connection,
      collection,
      destination: resolveDestination({ type: 'qdrant', collection, vectors: names }),
      jobId: 'bench',
      limits: { maxBytes: 8 * 2 ** 20, maxPoints: 128 },
      concurrency: 4,
    },
    documents,
  );
  const seconds = (performance.now() - startedAt) / 1000;
  done.abort();
  const blocked = await device;
  await connection.deleteCollection(collection);
  await connection.close();
  return {
    server,
    vectors: kind,
    points: report.points,
    pointsPerSecond: Math.round(report.points / seconds),
    megabytesPerSecond: Number((report.bytes / 1e6 / seconds).toFixed(1)),
    retries: report.retries,
    blockedPercent: Number((blocked * 100).toFixed(1)),
  };
}

const count = Number(options.documents);
const child = fork(new URL('./qdrantDoubleProcess.ts', import.meta.url), { stdio: 'inherit' });
const [doubleUrl] = (await once(child, 'message')) as [string];
const servers: [string, string][] = [['double', doubleUrl]];
if (process.env.QDRANT_TEST_URL) servers.push(['real', process.env.QDRANT_TEST_URL]);
const rows: Row[] = [];
for (const [server, url] of servers)
  for (const kind of Object.keys(KINDS) as (keyof typeof KINDS)[])
    rows.push(await measure(server, url, kind, kind === 'all three' ? Math.ceil(count / 10) : count));
child.disconnect();
console.table(rows);
const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
mkdirSync(options.json, { recursive: true });
const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version };
writeFileSync(`${options.json}/qdrant.json`, `${JSON.stringify({ commit, machine, rows }, null, 2)}\n`);
