/**
 * `npm run bench:memory -- [--backend redis|embedded] [--seconds 480] [--warm-up 180] [--clients 8]`: resident memory of the
 * processes while jobs with all three outputs, requests of very different sizes, searches and readings of results go on,
 * and of it what V8's heaps take and what is native (arrays, the model, code). The built-in model, so that the vectors are of
 * real sizes. A minute's figure is its median; slopes are by least squares, after the warm-up and in the second half of that.
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
import { mediansPerMinute, type Point, slopePerMinute } from './speed/slope.ts';
import { logNormalLengths } from './speed/texts.ts';

const flags = readFlags({ backend: 'redis', seconds: '480', 'warm-up': '180', clients: '8' });
const backend = flags.choice('backend', BACKENDS);
const seconds = flags.number('seconds', 10);
const warmUpSeconds = flags.number('warm-up');
const clients = flags.number('clients', 1);
const loadBefore = loadavg();

const SAMPLE_MS = 1000;
const JOB_TEXTS = 200;
const OUTPUTS = ['dense', 'sparse', 'colbert'];
const MB = 1e6;

const service = await startService({ backend, env: {} });
const series = new Map<string, Point[]>();
const delays = new Map<string, number>();
let [jobs, requests] = [0, 0];
try {
  const startedAtMs = performance.now();
  const elapsed = () => (performance.now() - startedAtMs) / 1000;
  await Promise.all([bulk(elapsed), interactive(), sampling(elapsed)]);
} finally {
  await service.stop();
}

const table = Object.fromEntries(
  [...series].map(([name, points]) => {
    const warm = points.filter((point) => point.seconds >= warmUpSeconds);
    const late = points.filter((point) => point.seconds >= (warmUpSeconds + seconds) / 2);
    const values = (warm.length > 0 ? warm : points).map(({ value }) => value);
    const minutes = mediansPerMinute(points).map((value, i) => [`min ${i + 1}`, Math.round(value)]);
    return [
      `${name} (MB)`,
      {
        ...Object.fromEntries(minutes),
        'least, warm': Math.round(Math.min(...values)),
        'most, warm': Math.round(Math.max(...values)),
        'slope a min': slopePerMinute(warm).toFixed(1),
        '2nd half': slopePerMinute(late).toFixed(1),
      },
    ];
  }),
);
await report(`memory-${backend}`, {
  settings: {
    backend,
    seconds,
    warmUpSeconds,
    clients,
    jobs,
    requests,
    loopDelayP99Ms: Object.fromEntries(delays),
  },
  loadBefore,
  table,
  figures: { series: Object.fromEntries(series) },
});

/** Jobs one after the other; every one's results are read in one of the formats, searched, and deleted. */
async function bulk(elapsed: () => number): Promise<void> {
  const client = new TrivecClient(service.url);
  const lengths = logNormalLengths(JOB_TEXTS);
  while (elapsed() < seconds) {
    const make = (words: number, i: number) => makeTexts(words, jobs * JOB_TEXTS + i)(1)[0]!;
    await runJob(
      service.url,
      lengths.map((tokens, i) => make(Math.min(tokens, 400), i)),
      OUTPUTS,
    );
    const [job] = (await client.jobs({ limit: 1 })).jobs;
    const format = (['ndjson', 'arrow', 'parquet'] as const)[jobs++ % 3]!;
    for await (const part of await client.results(job!.id, format)) void part;
    await client.search(job!.id, { query: 'a lamp in the winter garden' });
    await client.delete(job!.id);
  }
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
    for (const { failure, times } of failuresOf(loop)) console.log(`${times} × ${failure}`);
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
