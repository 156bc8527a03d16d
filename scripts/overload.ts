/**
 * `npm run overload [seconds]`: a listening API with a stand-in device behind, at ten times what it can do for 60 s: one
 * greedy client and two modest ones. Prints a table; exits 1 where a promise of docs/api.md is broken.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { buildApi } from '@trivec/api/app';
import { loadConfig } from '@trivec/core/config';
import { executeTask } from '@trivec/core/engine/executeTask';
import type { EngineTask } from '@trivec/core/engine/tasks';
import { EmbeddedLane } from '@trivec/core/replies/embedded';
import { createLogger } from '@trivec/core/telemetry/logger';
import { createMetrics } from '@trivec/core/telemetry/metrics';
import { Agent, request } from 'undici';
import { startStubEngine } from '../test/support/stubDevice.ts';

const SECONDS = Number(process.argv[2] ?? 60);
const LONE_SECONDS = Math.min(10, Math.max(3, SECONDS / 6));
const OVERLOAD = 10;
/** Of what the device can do; two of them stay below their fair thirds. */
const MODEST_SHARE = 0.2;
const REQUEST_TIMEOUT_MS = 5_000;
const BODY = JSON.stringify({ input: 'word '.repeat(30), outputs: ['dense'] });
const KEYS = { greedy: 'greedy-key-0123456789', ann: 'ann-key-0123456789ab', ben: 'ben-key-0123456789ab' };

interface Tally {
  sent: number;
  accepted: number;
  refused: number;
  /** 504: admitted, and then not in time. */
  late: number;
  broken: string[];
  ms: number[];
}

const config = loadConfig({
  MODEL: 'stub',
  PORT: '0',
  REQUEST_TIMEOUT_MS: String(REQUEST_TIMEOUT_MS),
  MAX_QUEUED_TASKS: '128',
  // One body for all requests: what the cache knows would load nothing.
  EMBEDDING_CACHE_MB: '0',
  API_KEYS: Object.entries(KEYS)
    .map(([name, key]) => `${name}=${key}`)
    .join(),
});
const { engine } = await startStubEngine({ msPerToken: 2, maxBatchTokens: 256 });
const lane = new EmbeddedLane();
const server = await lane.serve<EngineTask, unknown>(
  engine.model.fingerprint,
  (task, context) => executeTask(engine, task, context),
  { concurrency: 64 },
);
const metrics = createMetrics();
const unused = {} as never;
const app = await buildApi({
  config,
  jobs: unused,
  storage: unused,
  metrics,
  logger: createLogger({ logLevel: 'silent' }),
  backend: {
    kind: 'embedded',
    ping: async () => {},
    interactive: lane,
    registry: {
      list: async () => [
        {
          workerId: 'w1',
          model: engine.model,
          device: 'stub',
          maxBatchTokens: 256,
          tokensPerSecond: engine.tokensPerSecond(),
          startedAtMs: 0,
        },
      ],
      announce: () => Promise.reject(new Error('unused')),
      announceStart: () => Promise.reject(new Error('unused')),
      listStarting: async () => [],
      close: async () => {},
    },
  },
});
const url = await app.listen({ host: '127.0.0.1', port: 0 });
const dispatcher = new Agent({ connections: 512 });

async function send(key: string, tally: Tally): Promise<void> {
  tally.sent++;
  const startedAtMs = performance.now();
  try {
    const { statusCode, headers, body } = await request(`${url}/embeddings`, {
      method: 'POST',
      dispatcher,
      body: BODY,
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    });
    const answer = (await body.json()) as { data?: unknown[]; error?: { code: string } };
    if (statusCode === 200 && answer.data?.length === 1) {
      tally.accepted++;
      tally.ms.push(performance.now() - startedAtMs);
    } else if (statusCode === 429 && answer.error?.code === 'overloaded' && isWellFormed(headers))
      tally.refused++;
    else if (statusCode === 504 && answer.error?.code === 'deadline_exceeded') tally.late++;
    else tally.broken.push(`${statusCode} ${answer.error?.code}`);
  } catch (error) {
    tally.broken.push(String(error));
  }
}

function isWellFormed(headers: Record<string, string | string[] | undefined>): boolean {
  return ['retry-after', 'x-queue-depth', 'x-estimated-wait-ms'].every((name) =>
    /^\d+$/.test(String(headers[name])),
  );
}

/** So many requests a second, whatever the answers. */
async function drive(key: string, perSecond: number, seconds: number): Promise<Tally> {
  const tally: Tally = { sent: 0, accepted: 0, refused: 0, late: 0, broken: [], ms: [] };
  const calls = new Set<Promise<void>>();
  const startedAtMs = performance.now();
  for (let due = 0; due < perSecond * seconds; due++) {
    const waitMs = startedAtMs + (due * 1000) / perSecond - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    const call = send(key, tally).finally(() => calls.delete(call));
    calls.add(call);
  }
  await Promise.all(calls);
  return tally;
}

/** Requests a second with as many at once as the device likes. */
async function sustainable(): Promise<number> {
  const tally: Tally = { sent: 0, accepted: 0, refused: 0, late: 0, broken: [], ms: [] };
  const startedAtMs = performance.now();
  const endMs = startedAtMs + LONE_SECONDS * 1000;
  const loop = async () => {
    while (performance.now() < endMs) await send(KEYS.ann, tally);
  };
  await Promise.all(Array.from({ length: 32 }, loop));
  return (tally.accepted * 1000) / (performance.now() - startedAtMs);
}

const percentile = (values: number[], part: number) =>
  values.sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))] ?? 0;

const capacity = await sustainable();
const lone = await drive(KEYS.ann, capacity * MODEST_SHARE, LONE_SECONDS);
/** Of what was sent at this rate: few whole requests in a few seconds make a coarse one otherwise. */
const rateOf = ({ accepted, sent }: Tally, perSecond: number) => (accepted / sent) * perSecond;
const loneRate = rateOf(lone, capacity * MODEST_SHARE);
globalThis.gc?.();
const heapBefore = process.memoryUsage().heapUsed;
const [greedy, ann, ben] = await Promise.all([
  drive(KEYS.greedy, capacity * OVERLOAD, SECONDS),
  drive(KEYS.ann, capacity * MODEST_SHARE, SECONDS),
  drive(KEYS.ben, capacity * MODEST_SHARE, SECONDS),
]);
await sleep(200);
globalThis.gc?.();
const heapGrowthMiB = (process.memoryUsage().heapUsed - heapBefore) / 1024 ** 2;
const depthAfter = await lane.depth(engine.model.fingerprint);
const headers = { authorization: `Bearer ${KEYS.ann}` };
const stats = (await app.inject({ url: '/stats', headers })).json();
const scrape = (await app.inject({ url: '/metrics', headers })).body;

console.log(`sustainable: ${capacity.toFixed(1)} requests/s; a modest client alone: ${loneRate.toFixed(1)}`);
console.log('| client | sent/s | accepted/s | refused/s | late/s | p50 ms | p99 ms | of lone |');
console.log('| --- | --- | --- | --- | --- | --- | --- | --- |');
const failures: string[] = [];
for (const [name, tally] of Object.entries({ greedy, ann, ben })) {
  const rate = rateOf(tally, capacity * (name === 'greedy' ? OVERLOAD : MODEST_SHARE));
  const p99 = percentile(tally.ms, 0.99);
  const row = [
    name,
    (tally.sent / SECONDS).toFixed(1),
    rate.toFixed(1),
    (tally.refused / SECONDS).toFixed(1),
    (tally.late / SECONDS).toFixed(1),
    percentile(tally.ms, 0.5).toFixed(0),
    p99.toFixed(0),
    name === 'greedy' ? '' : `${((100 * rate) / loneRate).toFixed(0)} %`,
  ];
  console.log(`| ${row.join(' | ')} |`);
  if (tally.broken.length > 0)
    failures.push(`${name}: ${tally.broken.length} answers of another kind, such as ${tally.broken[0]}`);
  if (p99 > REQUEST_TIMEOUT_MS * 1.2) failures.push(`${name}: p99 ${p99.toFixed(0)} ms`);
  if (name !== 'greedy' && rate < 0.8 * loneRate)
    failures.push(`${name}: ${rate.toFixed(1)} of ${loneRate.toFixed(1)}`);
}
console.log(
  `heap ${heapGrowthMiB.toFixed(1)} MiB more; queue afterwards: ${depthAfter + stats.models[0].queueDepth}`,
);
if (depthAfter + stats.models[0].queueDepth !== 0) failures.push('work is left in the queue');
const gauge = /^trivec_requests_waiting\{.*\} (\S+)$/m.exec(scrape)?.[1];
if (gauge !== '0') failures.push(`the gauge of waiting requests says ${gauge}`);
if (heapGrowthMiB > 64) failures.push(`the heap grew by ${heapGrowthMiB.toFixed(0)} MiB`);
for (const failure of failures) console.error(`BROKEN ${failure}`);
await app.close();
await server.close();
await lane.close();
await engine.close();
await dispatcher.close();
process.exitCode = failures.length === 0 ? 0 : 1;
