/**
 * How fast points leave for Qdrant: `node bench/qdrant.ts` into the double, and into a real server where
 * QDRANT_TEST_URL names one; by gRPC, too, where QDRANT_TEST_GRPC_URL names its port. 1024 dimensions, 128 ColBERT rows of float16 a text, as shards hold them.
 * `blocked`: the share of time that a device fed by this thread would stand still because of the sink.
 * Then the built-in model embeds real jobs while Qdrant keeps up, is slow, and is dead: how long its device stands still.
 */
import { execFileSync, fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadConfig } from '../packages/core/src/config.ts';
import type { WriteTask } from '../packages/core/src/jobs/sinkWrite.ts';
import { startSinkWriter } from '../packages/core/src/jobs/sinkWriter.ts';
import { collectionRules } from '../packages/core/src/sinks/qdrant/collection.ts';
import { resolveDestination, type VectorNames } from '../packages/core/src/sinks/qdrant/destination.ts';
import { makeCollection } from '../packages/core/src/sinks/qdrant/lifecycle.ts';
import { openTarget } from '../packages/core/src/sinks/qdrant/open.ts';
import { qdrantTargets } from '../packages/core/src/sinks/qdrant/targets.ts';
import { arrowFile } from '../packages/core/src/vectors/arrow.ts';
import { columnsOf } from '../packages/core/src/vectors/resultColumns.ts';
import { OUTPUTS, type TextVectors } from '../packages/core/src/vectors/types.ts';
import { numbers } from '../test/support/sinkDocuments.ts';
import { measureStandstill, standstillTable } from './qdrantStandstill.ts';
import { numberFlag, parseFlags } from './speed/flags.ts';

const DIMS = 1024;
const ROWS = 128;
const WEIGHTS = 100;
/** Documents of a shard: what 128 KiB of text are, about. */
const SHARD = 128;
const COLBERT_SHARD = 32;
/** What one batch takes on the pretended device. */
const BATCH_MS = 20;

const { values: options } = parseFlags({
  options: {
    documents: { type: 'string', default: '2000' },
    'standstill-documents': { type: 'string', default: '400' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '240' },
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
  /** The same, measured just before with nothing to send: what the machine itself does. */
  idlePercent: number;
}

/** Results of a shard as they lie in storage. A few different texts, used in turn: what is sent is what costs. */
async function shard(ordinal: number, documents: number, names: VectorNames): Promise<ShardBlobs> {
  const next = numbers(ordinal + 1);
  const texts = Array.from({ length: 8 }, () => vectors(next));
  const outputs = OUTPUTS.filter((output) => names[output] !== undefined);
  const rows = Array.from({ length: documents }, (_, i) => ({
    id: `doc-${ordinal}-${i}`,
    chunk: 0,
    vectors: texts[i % texts.length]!,
  }));
  const lines = rows.map(({ id }) => `${JSON.stringify({ id, text: 'lorem ipsum '.repeat(40) })}\n`);
  return {
    results: arrowFile(await columnsOf(rows, outputs, { dense: DIMS, colbert: DIMS })),
    documents: Buffer.from(lines.join('')),
  };
}

type ShardBlobs = Pick<WriteTask, 'results' | 'documents'>;

function vectors(next: () => number): TextVectors {
  return {
    tokens: ROWS + 1,
    dense: Float32Array.from({ length: DIMS }, () => next() / 32),
    sparse: {
      indices: Uint32Array.from({ length: WEIGHTS }, (_, i) => i * 2500 + Math.floor((next() + 1) * 1000)),
      values: Float32Array.from({ length: WEIGHTS }, () => Math.abs(next()) + 0.01),
    },
    colbert: {
      rows: ROWS,
      dims: DIMS,
      data: Float32Array.from({ length: ROWS * DIMS }, () => next() / 32),
    },
  };
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

interface Server {
  name: string;
  url: string;
  grpcUrl?: string;
}

async function measure(
  { name: server, url, grpcUrl }: Server,
  kind: keyof typeof KINDS,
  count: number,
): Promise<Row> {
  const config = loadConfig({
    QDRANT_URL: url,
    QDRANT_TIMEOUT_MS: '120000',
    ...(grpcUrl !== undefined && { QDRANT_GRPC_URL: grpcUrl }),
  });
  const target = qdrantTargets(config).get(undefined)!;
  const { connection, close } = openTarget(target);
  const writer = startSinkWriter(target);
  const collection = `bench_${randomUUID()}`;
  const names = KINDS[kind];
  const rules = collectionRules(names, { dense: DIMS, colbert: DIMS, sparse: true });
  await makeCollection(connection, { action: 'create', collection }, rules);
  await connection.setHnswM(collection, 0);
  const destination = resolveDestination({ type: 'qdrant', collection, vectors: names });
  const size = kind === 'all three' ? COLBERT_SHARD : SHARD;
  const shards: ShardBlobs[] = [];
  for (let ordinal = 0; ordinal * size < count; ordinal++) shards.push(await shard(ordinal, size, names));
  const resting = new AbortController();
  const rest = pretendDevice(resting.signal);
  await sleep(1000);
  resting.abort();
  const idle = await rest;
  const { signal } = new AbortController();
  const done = new AbortController();
  const device = pretendDevice(done.signal);
  const startedAt = performance.now();
  const totals = { points: 0, bytes: 0, retries: 0 };
  const lane = async () => {
    for (let blobs = shards.shift(); blobs !== undefined; blobs = shards.shift()) {
      const report = await writer.write({ ...blobs, collection, destination, mark: 'bench' }, { signal });
      totals.points += report.points;
      totals.bytes += report.bytes;
      totals.retries += report.retries;
    }
  };
  // Two shards at once, as a worker's sink lane has it.
  await Promise.all([lane(), lane()]);
  const seconds = (performance.now() - startedAt) / 1000;
  done.abort();
  const blocked = await device;
  await connection.deleteCollection(collection);
  await writer.close();
  await close();
  return {
    server,
    vectors: kind,
    points: totals.points,
    pointsPerSecond: Math.round(totals.points / seconds),
    megabytesPerSecond: Number((totals.bytes / 1e6 / seconds).toFixed(1)),
    retries: totals.retries,
    blockedPercent: Number((blocked * 100).toFixed(1)),
    idlePercent: Number((idle * 100).toFixed(1)),
  };
}

const count = numberFlag('documents', options.documents);
const standstillDocuments = numberFlag('standstill-documents', options['standstill-documents']);
const rounds = numberFlag('rounds', options.rounds, 1);
const endAtMs = performance.now() + numberFlag('seconds', options.seconds) * 1000;
const child = fork(new URL('./qdrantDoubleProcess.ts', import.meta.url), { stdio: 'inherit' });
const [doubleUrl] = (await once(child, 'message')) as [string];
const { QDRANT_TEST_URL: realUrl, QDRANT_TEST_GRPC_URL: grpcUrl } = process.env;
const servers: Server[] = [{ name: 'double', url: doubleUrl }];
if (realUrl) servers.push({ name: 'real', url: realUrl });
if (realUrl && grpcUrl) servers.push({ name: 'real, gRPC', url: realUrl, grpcUrl });
const rows: Row[] = [];
for (const server of count > 0 ? servers : [])
  for (const kind of Object.keys(KINDS) as (keyof typeof KINDS)[])
    rows.push(await measure(server, kind, kind === 'all three' ? Math.ceil(count / 10) : count));
console.table(rows);
console.log(`the device's time, with the ${realUrl ? 'real server' : 'double'} as Qdrant, by REST`);
const standstill = await measureStandstill(realUrl || doubleUrl, {
  documents: standstillDocuments,
  rounds,
  endAtMs,
});
console.table(standstillTable(standstill));
child.disconnect();
const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
mkdirSync(options.json, { recursive: true });
const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version };
writeFileSync(
  `${options.json}/qdrant.json`,
  `${JSON.stringify({ commit, machine, load: loadavg(), rows, standstill }, null, 2)}\n`,
);
