/**
 * `npm run bench:intake`: a corpus streamed into the real API on a Redis of its own, with a worker announced that takes
 * nothing: what is measured is the intake. Prints a table, and JSON with --json.
 */
import { spawn } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { openBackend } from '@trivec/core/backend/open';
import { loadConfig } from '@trivec/core/config';
import type { ModelInfo } from '@trivec/core/models/modelInfo';
import { createLogger } from '@trivec/core/telemetry/logger';
import { Redis } from 'ioredis';
import { freePort, keep, nodeProgram, redisProgram } from './chaos/processes.ts';
import { numberFlag, parseFlags } from './speed/flags.ts';

const { values } = parseFlags({
  options: {
    documents: { type: 'string', default: '1000000' },
    characters: { type: 'string', default: '500' },
    json: { type: 'string' },
  },
});
const documents = numberFlag('documents', values.documents, 1);
const characters = numberFlag('characters', values.characters, 1);

const MODEL: ModelInfo = {
  kind: 'embedding',
  name: 'intake',
  fingerprint: 'intake',
  dtype: 'fp32',
  outputs: ['dense'],
  denseDims: 1024,
  colbertDims: 0,
  maxTokens: 8192,
  standIn: true,
  description: 'Announced, and never run.',
  license: 'Apache-2.0',
};

const CHUNK_DOCUMENTS = 500;
let sentBytes = 0;

function* corpus(): Generator<Buffer> {
  const words = 'the quick brown fox jumps over the lazy dog while rain falls on every tin roof in town ';
  const text = words.repeat(Math.ceil((2 * characters) / words.length));
  for (let first = 0; first < documents; first += CHUNK_DOCUMENTS) {
    const lines: string[] = [];
    for (let i = first; i < Math.min(documents, first + CHUNK_DOCUMENTS); i++)
      lines.push(`{"id":"doc-${i}","text":"${text.slice(i % characters, (i % characters) + characters)}"}\n`);
    const chunk = Buffer.from(lines.join(''));
    sentBytes += chunk.length;
    yield chunk;
  }
}

const folder = await mkdtemp(join(tmpdir(), 'trivec-intake-'));
const [port, redisPort] = [await freePort(), await freePort()];
const env = {
  DATA_DIR: join(folder, 'data'),
  BACKEND_URL: `redis://127.0.0.1:${redisPort}`,
  PORT: String(port),
  MODEL: MODEL.name,
  LOG_LEVEL: 'warn',
};
const url = `http://127.0.0.1:${port}`;
const server = keep({ role: 'redis', index: 0, cwd: folder, ...redisProgram(folder, redisPort) });
const api = spawn(nodeProgram('apps/api/src/main.ts').file, nodeProgram('apps/api/src/main.ts').args, {
  cwd: folder,
  env: { ...process.env, ...env },
  stdio: ['ignore', 'inherit', 'inherit'],
});
const config = loadConfig(env);
const backend = await openBackend(config, createLogger({ logLevel: 'silent' }));
const redis = new Redis(config.backendUrl);
try {
  await backend.registry.announce(() => ({
    workerId: 'intake',
    model: MODEL,
    device: 'cpu',
    maxBatchTokens: 1024,
    tokensPerSecond: 0,
    startedAtMs: 0,
  }));
  await until(async () => (await fetch(`${url}/health/ready`)).ok);
  const redisBefore = await redisBytes();
  const rssBefore = rssBytes('VmRSS');

  const startedAtMs = performance.now();
  const answer = await fetch(`${url}/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body: Readable.toWeb(Readable.from(corpus(), { objectMode: false })) as ReadableStream,
    duplex: 'half',
  });
  const seconds = (performance.now() - startedAtMs) / 1000;
  const body = (await answer.json()) as { id: string };
  if (answer.status !== 202) throw new Error(`POST /jobs: ${answer.status} ${JSON.stringify(body)}`);
  const apiPeakBytes = rssBytes('VmHWM');
  const redisAfter = await redisBytes();

  const cancelAtMs = performance.now();
  const cancelled = await fetch(`${url}/jobs/${body.id}/cancel`, { method: 'POST' });
  const cancelMs = performance.now() - cancelAtMs;
  const { status } = (await cancelled.json()) as { status: string };
  const left = await backend.shardQueue(MODEL.fingerprint).counts();

  const MB = 1e6;
  const figures = {
    documents,
    megabytes: Math.round(sentBytes / MB),
    seconds: Math.round(seconds * 10) / 10,
    megabytesPerSecond: Math.round((sentBytes / MB / seconds) * 10) / 10,
    documentsPerSecond: Math.round(documents / seconds),
    apiRssBeforeMegabytes: Math.round(rssBefore / MB),
    apiPeakRssMegabytes: Math.round(apiPeakBytes / MB),
    redisMegabytes: Math.round(((redisAfter - redisBefore) / MB) * 10) / 10,
    cancelMs: Math.round(cancelMs),
    statusAfterCancel: status,
    leftInQueue: left.waiting + left.active + left.delayed,
  };
  console.log(`intake on ${cpus().length} cores (${cpus()[0]?.model}), Redis and disk of this machine`);
  console.table(figures);
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(figures, null, 2)}\n`);
} finally {
  redis.disconnect();
  await backend.close();
  api.kill('SIGTERM');
  await new Promise((resolve) => (api.exitCode === null ? api.once('exit', resolve) : resolve(undefined)));
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (await condition().catch(() => false)) return;
    await sleep(100);
  }
  throw new Error('the API did not become ready in a minute');
}

async function redisBytes(): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1]);
}

/** From the kernel; Linux only. `VmHWM` is the peak. */
function rssBytes(field: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${api.pid}/status`, 'utf8');
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]) * 1024;
}
