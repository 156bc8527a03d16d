/**
 * `npm run bench:throughput -- [--backend embedded|redis] [--model mini|m3] [--dtype fp32|int8] [--texts 384]
 * [--clients 64] [--rounds 5] [--seconds 200]`: texts/s of requests with one text each ÷ texts/s of one job with the
 * same texts. They take turns; no text comes twice.
 */
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { closedLoop } from './load/closedLoop.ts';
import { openPoster } from './load/post.ts';
import { failuresOf } from './load/summary.ts';
import { readFlags } from './speed/flags.ts';
import { runJob } from './speed/jobs.ts';
import { BENCH_SIZES, DTYPES, makeBenchModel } from './speed/models.ts';
import { report, withFolder } from './speed/rig.ts';
import { BACKENDS, startService } from './speed/service.ts';
import { logNormalLengths, median } from './speed/texts.ts';
import { textsOf } from './speed/words.ts';

const flags = readFlags({
  backend: 'embedded',
  model: 'mini',
  dtype: 'fp32',
  texts: '384',
  clients: '64',
  rounds: '5',
  seconds: '200',
});
const backend = flags.choice('backend', BACKENDS);
const size = flags.choice('model', Object.keys(BENCH_SIZES) as (keyof typeof BENCH_SIZES)[]);
const dtype = flags.choice('dtype', DTYPES);
const rounds = flags.number('rounds', 1);
const clients = flags.number('clients', 1);
const lengths = logNormalLengths(flags.number('texts', 1));
const endAtMs = performance.now() + flags.number('seconds', 1) * 1000;
const loadBefore = loadavg();

await withFolder(async (folder) => {
  const model = await makeBenchModel(join(folder, 'model'), size, dtype);
  const service = await startService({ backend, env: model.env });
  const [requestRates, jobRates]: [number[], number[]] = [[], []];
  const poster = openPoster();
  const ask = async (texts: readonly string[]) => {
    const next = (index: number) => ({
      url: `${service.url}/embeddings`,
      json: JSON.stringify({ input: [texts[index]], outputs: ['dense'], encoding_format: 'base64' }),
      units: 1,
    });
    const loop = await closedLoop(poster, next, { clients, requests: texts.length });
    const [failure] = failuresOf(loop);
    if (failure !== undefined) throw new Error(`${failure.times} requests failed: ${failure.failure}`);
    return loop.wallMs / 1000;
  };
  let processes: Awaited<ReturnType<typeof service.processes>>;
  let engines: unknown[];
  try {
    await ask(textsOf(lengths.slice(0, 64), model.words, 999));
    await service.resetDelays();
    let longestMs = 0;
    for (let round = 1; round <= rounds; round++) {
      if (performance.now() + longestMs > endAtMs) break;
      const startedAtMs = performance.now();
      const texts = textsOf(lengths, model.words, round);
      jobRates.push(texts.length / (await runJob(service.url, texts)).seconds);
      requestRates.push(texts.length / (await ask(texts)));
      longestMs = Math.max(longestMs, performance.now() - startedAtMs);
    }
    processes = await service.processes();
    engines = await service.engines();
  } finally {
    poster.close();
    await service.stop();
  }
  const ratios = requestRates.map((rate, i) => rate / jobRates[i]!);
  await report(`throughput-${backend}-${size}-${dtype}`, {
    settings: { backend, model: size, dtype, texts: lengths.length, clients, rounds: ratios.length },
    loadBefore,
    table: {
      [`${clients} clients`]: {
        'texts/s': median(requestRates).toFixed(1),
        'requests ÷ job': median(ratios).toFixed(3),
      },
      job: { 'texts/s': median(jobRates).toFixed(1), 'requests ÷ job': '' },
    },
    figures: { ratios, engines, processes },
  });
});
