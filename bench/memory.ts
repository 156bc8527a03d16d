/**
 * `npm run bench:memory -- [--backend redis|embedded] [--seconds 480] [--clients 8]`: resident memory of the processes while
 * jobs with all three outputs, requests of very different sizes, searches and readings of results go on, and of it what V8's
 * heaps take and what is native (arrays, the model, code). The built-in model, so that the vectors are of real sizes. The
 * figures of a period (a minute, five of them in an hour) are medians; slopes are by least squares, over the first third,
 * in which caches fill, and over the rest. Beside them what happened: jobs and requests that failed, steps of a minute's median.
 */
import { loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { TrivecClient } from '@trivec/cli/client';
import { closedLoop } from './load/closedLoop.ts';
import { openPoster } from './load/post.ts';
import { makeTexts } from './load/scenarios.ts';
import { failuresOf } from './load/summary.ts';
import { readFlags } from './speed/flags.ts';
import { runJob } from './speed/jobs.ts';
import { report } from './speed/rig.ts';
import { BACKENDS, startService } from './speed/service.ts';
import { mediansPer, type Point, slopePerMinute, stepsOf } from './speed/slope.ts';
import { logNormalLengths } from './speed/texts.ts';

const flags = readFlags({ backend: 'redis', seconds: '480', clients: '8' });
const backend = flags.choice('backend', BACKENDS);
const seconds = flags.number('seconds', 10);
const clients = flags.number('clients', 1);
const loadBefore = loadavg();

const SAMPLE_MS = 1000;
const JOB_TEXTS = 200;
const OUTPUTS = ['dense', 'sparse', 'colbert'];
const MB = 1e6;
const MOST_COLUMNS = 12;
const STEP_MB = 15;
const AFTER_FAILURE_MS = 1000;

const service = await startService({ backend, env: {} });
const series = new Map<string, Point[]>();
const delays = new Map<string, number>();
const events: { minute: number; what: string }[] = [];
let [jobs, requests] = [0, 0];
try {
  const startedAtMs = performance.now();
  const elapsed = () => (performance.now() - startedAtMs) / 1000;
  await Promise.all([bulk(elapsed), interactive(), sampling(elapsed)]);
} finally {
  await service.stop();
}

const periodSeconds = 60 * Math.ceil(seconds / 60 / MOST_COLUMNS);
const figures: Record<string, number[]> = {};
const table = Object.fromEntries(
  [...series].map(([name, points]) => {
    const isWarm = (point: Point) => point.seconds >= seconds / 3;
    const [early, warm] = [points.filter((point) => !isWarm(point)), points.filter(isWarm)];
    const values = (warm.length > 0 ? warm : points).map(({ value }) => value);
    const minutes = mediansPer(60, points);
    figures[`${name}, medians of minutes (MB)`] = minutes.map((value) => Number(value.toFixed(1)));
    for (const { at, by } of stepsOf(minutes, STEP_MB))
      events.push({ minute: at + 1, what: `${name} ${by > 0 ? '+' : ''}${Math.round(by)} MB` });
    const periods = mediansPer(periodSeconds, points).map((value, i) => [
      `to min ${((i + 1) * periodSeconds) / 60}`,
      Math.round(value),
    ]);
    return [
      `${name} (MB)`,
      {
        ...Object.fromEntries(periods),
        'least, after': Math.round(Math.min(...values)),
        'most, after': Math.round(Math.max(...values)),
        '1st third, a min': slopePerMinute(early).toFixed(2),
        'after, a min': slopePerMinute(warm).toFixed(2),
      },
    ];
  }),
);
events.sort((a, b) => a.minute - b.minute);
console.table(events);
await report(`memory-${backend}`, {
  settings: { backend, seconds, clients, jobs, requests, loopDelayP99Ms: Object.fromEntries(delays) },
  loadBefore,
  table,
  figures: { ...figures, events },
});

/** A failure ends neither the run nor its figures. */
async function bulk(elapsed: () => number): Promise<void> {
  while (elapsed() < seconds) {
    try {
      await oneJob();
    } catch (error) {
      events.push({ minute: Math.floor(elapsed() / 60) + 1, what: `a job: ${(error as Error).message}` });
      await sleep(AFTER_FAILURE_MS);
    }
  }
}

/** Its results are read in one of the formats, searched, and deleted. */
async function oneJob(): Promise<void> {
  const client = new TrivecClient(service.url);
  const make = (words: number, i: number) => makeTexts(words, jobs * JOB_TEXTS + i)(1)[0]!;
  await runJob(
    service.url,
    logNormalLengths(JOB_TEXTS).map((tokens, i) => make(Math.min(tokens, 400), i)),
    OUTPUTS,
  );
  const [job] = (await client.jobs({ limit: 1 })).jobs;
  const format = (['ndjson', 'arrow', 'parquet'] as const)[jobs++ % 3]!;
  for await (const part of await client.results(job!.id, format)) void part;
  await client.search(job!.id, { query: 'a lamp in the winter garden' });
  await client.delete(job!.id);
}

/** One short text, ten of them for all outputs, a long one, a ranking; in turn. */
async function interactive(): Promise<void> {
  const poster = openPoster();
  const short = makeTexts(8, 1);
  const long = makeTexts(300, 2);
  const bodies = [
    () => ['/embeddings', { input: short(1), outputs: ['dense'] }],
    () => ['/embeddings', { input: short(10), outputs: OUTPUTS }],
    () => ['/embeddings', { input: long(2), outputs: OUTPUTS, encoding_format: 'base64' }],
    () => ['/v1/embeddings', { input: short(4) }],
    () => ['/rerank', { query: short(1)[0], documents: short(8) }],
  ] as const;
  const next = (index: number) => {
    const [path, body] = bodies[index % bodies.length]!();
    return { url: `${service.url}${path}`, json: JSON.stringify(body), units: 1 };
  };
  try {
    const loop = await closedLoop(poster, next, { clients, seconds });
    requests = loop.samples.length;
    for (const { failure, times } of failuresOf(loop))
      events.push({ minute: Math.ceil(seconds / 60), what: `${times} requests, all in all: ${failure}` });
  } finally {
    poster.close();
  }
}

async function sampling(elapsed: () => number): Promise<void> {
  while (elapsed() < seconds) {
    for (const { program, rssBytes, v8Bytes, loopDelayP99Ms } of await service.processes()) {
      const [name = program] = program.split('/');
      const parts = { resident: rssBytes, V8: v8Bytes, native: rssBytes - v8Bytes };
      for (const [part, bytes] of Object.entries(parts)) {
        const points = series.get(`${name} ${part}`) ?? [];
        points.push({ seconds: elapsed(), value: bytes / MB });
        series.set(`${name} ${part}`, points);
      }
      delays.set(name, loopDelayP99Ms);
    }
    await sleep(SAMPLE_MS);
  }
}
