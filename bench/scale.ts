/**
 * `npm run bench:scale -- [--workers 1,2,4,8,16,32] [--shards 12] [--rounds 3] [--seconds 270] [--per-process 8]`: jobs on a
 * real API and Redis whose workers have a device that sleeps. `--shards` are those of one worker, so that each size should
 * take the same time from the first shard taken to the last stored; what is lost is what queue, ledger and storage cost. Several workers share a process, whose busiest
 * event loop is shown: near 100 % the machine is the limit, not the queue.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readFlags } from './speed/flags.ts';
import { runJob } from './speed/jobs.ts';
import { report } from './speed/rig.ts';
import { type Service, startService } from './speed/service.ts';
import { STUB_MODEL, type StubWorkersReport } from './speed/stubModel.ts';
import { median } from './speed/texts.ts';

const flags = readFlags({
  workers: '1,2,4,8,16,32',
  shards: '12',
  rounds: '3',
  seconds: '270',
  'per-process': '8',
});
const workerCounts = flags.numbers('workers', 1);
const shardsPerWorker = flags.number('shards', 1);
const rounds = flags.number('rounds', 1);
const perProcess = flags.number('per-process', 1);
const endAtMs = performance.now() + flags.number('seconds', 1) * 1000;
const loadBefore = loadavg();

/** As the options' defaults cut a shard; 64 tokens a document make a shard of about a second. */
const SHARD_DOCUMENTS = 256;
const WORDS = 'word '.repeat(61).trim();
const TOKENS_PER_SECOND = 16_000;
const START_TIMEOUT_MS = 30_000;

interface Run {
  textsPerSecond: number;
  busiestLoop: number;
}

const data = await mkdtemp(join(tmpdir(), 'trivec-scale-'));
const runs = new Map<number, Run[]>(workerCounts.map((count) => [count, []]));
try {
  const env = { MODEL: STUB_MODEL.info.name, STORAGE_URL: `file://${data}` };
  const service = await startService({ backend: 'redis', env, workers: 0 });
  try {
    let longestMs = 0;
    for (let round = 0; round < rounds; round++) {
      if (performance.now() + longestMs > endAtMs) break;
      const startedAtMs = performance.now();
      for (const count of workerCounts) runs.get(count)!.push(await withWorkers(service, env, count));
      longestMs = Math.max(longestMs, performance.now() - startedAtMs);
    }
  } finally {
    await service.stop();
  }
} finally {
  await rm(data, { recursive: true, force: true });
}

const alone = runs.get(workerCounts[0]!)!;
const perWorker = (count: number, round: number) => runs.get(count)![round]!.textsPerSecond / count;
const table = Object.fromEntries(
  workerCounts.map((count) => {
    const own = runs.get(count)!;
    const ratios = own.map((_, round) => perWorker(count, round) / perWorker(workerCounts[0]!, round));
    return [
      `${count} workers`,
      {
        'texts/s': Math.round(median(own.map(({ textsPerSecond }) => textsPerSecond))),
        'per worker ÷ first': median(ratios).toFixed(3),
        'busiest event loop': `${Math.round(100 * median(own.map(({ busiestLoop }) => busiestLoop)))} %`,
      },
    ];
  }),
);
await report('scale', {
  settings: {
    workerCounts,
    shardsPerWorker,
    perProcess,
    rounds: alone.length,
    tokensPerSecond: TOKENS_PER_SECOND,
  },
  loadBefore,
  table,
  figures: { runs: Object.fromEntries(runs) },
});

async function withWorkers(service: Service, env: Record<string, string>, count: number): Promise<Run> {
  const processes: ChildProcess[] = [];
  try {
    for (let left = count; left > 0; left -= perProcess)
      processes.push(forkWorkers(service, env, Math.min(left, perProcess)));
    await Promise.all(processes.map(untilServing));
    await untilReady(service.url);
    for (const process of processes) process.send('begin');
    // None twice: a job embeds equal texts once.
    const texts = Array.from(
      { length: count * shardsPerWorker * SHARD_DOCUMENTS },
      (_, i) => `${i} ${WORDS}`,
    );
    const { workSeconds } = await runJob(service.url, texts);
    const reports = await Promise.all(processes.map(askReport));
    return {
      textsPerSecond: texts.length / workSeconds,
      busiestLoop: Math.max(...reports.map(({ utilization }) => utilization)),
    };
  } finally {
    await Promise.all(processes.map(end));
  }
}

function forkWorkers(service: Service, env: Record<string, string>, count: number): ChildProcess {
  return fork(
    new URL('./speed/stubWorkers.ts', import.meta.url),
    [String(count), String(TOKENS_PER_SECOND)],
    { env: { PATH: process.env.PATH, ...env, BACKEND_URL: service.backendUrl }, cwd: data },
  );
}

async function untilServing(child: ChildProcess): Promise<void> {
  const message = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => ['ended']),
    sleep(START_TIMEOUT_MS, ['late'], { ref: false }),
  ]);
  if (message[0] !== 'ready') throw new Error(`Workers do not serve: ${message[0]}.`);
}

async function askReport(child: ChildProcess): Promise<StubWorkersReport> {
  const answer = once(child, 'message');
  child.send('report');
  return (await answer)[0] as StubWorkersReport;
}

async function untilReady(url: string): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    if ((await fetch(`${url}/health/ready`)).ok) return;
    await sleep(100);
  }
  throw new Error('The API sees no worker.');
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.send('end');
  const timer = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}
