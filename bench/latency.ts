/**
 * `npm run bench:latency -- [--backends embedded,redis] [--model mini|m3] [--dtype fp32|int8] [--clients 1,16,64]
 * [--seconds 15] [--tokens 12]`: POST /embeddings with one short text, at rest and while a job runs, in milliseconds above
 * a bare forward pass of the same text. `--seconds` are those of one row.
 */
import '@trivec/core/startAsServer';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { TrivecClient } from '@trivec/cli/client';
import { loadConfig } from '@trivec/core/config';
import { type Call, closedLoop } from './load/closedLoop.ts';
import { openPoster } from './load/post.ts';
import { failuresOf, summarize } from './load/summary.ts';
import { readFlags } from './speed/flags.ts';
import { submitJob } from './speed/jobs.ts';
import { BENCH_SIZES, type BenchModel, DTYPES, makeBenchModel } from './speed/models.ts';
import { openSession, report, runBatches, withFolder } from './speed/rig.ts';
import { BACKENDS, type Service, startService } from './speed/service.ts';
import { logNormalLengths, median, randomNumbers } from './speed/texts.ts';
import { textsOf } from './speed/words.ts';

const flags = readFlags({
  backends: 'embedded,redis',
  model: 'mini',
  dtype: 'fp32',
  clients: '1,16,64',
  seconds: '15',
  tokens: '12',
});
const size = flags.choice('model', Object.keys(BENCH_SIZES) as (keyof typeof BENCH_SIZES)[]);
const dtype = flags.choice('dtype', DTYPES);
const seconds = flags.number('seconds', 1);
const tokens = flags.number('tokens', 3);
const clientCounts = flags.numbers('clients', 1);
const backends = BACKENDS.filter((name) => flags.list('backends').includes(name));
const { maxBulkBatchMs } = loadConfig({});
const loadBefore = loadavg();

type Row = Record<string, number | string>;
let textsMade = 0;

await withFolder(async (folder) => {
  const model = await makeBenchModel(join(folder, 'model'), size, dtype);
  const passMs = await barePass(model.description.graphFile);
  const table: Record<string, Row> = {};
  const processes: Record<string, Row[]> = {};
  const engines: Record<string, unknown[]> = {};
  for (const backend of backends) {
    const service = await startService({ backend, env: model.env });
    try {
      await measure(service, model, clientCounts[0] ?? 1, Math.min(3, seconds));
      for (const busy of [false, true]) {
        const job = busy ? await keepBusy(service, model) : undefined;
        await service.resetDelays();
        for (const clients of clientCounts) {
          const { P50, P95, P99, ...rest } = await measure(service, model, clients, seconds);
          table[`${backend}, ${busy ? 'under load' : 'at rest'}, ${clients}`] = {
            'Req/s': rest['Req/s'],
            P50,
            P95,
            P99,
            'P50 − pass': above(P50, passMs),
            'P95 − pass': above(P95, passMs),
            Fail: rest.Fail,
          };
        }
        processes[`${backend}, ${busy ? 'under load' : 'at rest'}`] = (await service.processes()).map(
          ({ program, loopDelayP99Ms, loopDelayMaxMs, rssBytes }) => ({
            program,
            'event-loop delay P99 (ms)': Number(loopDelayP99Ms.toFixed(1)),
            'max (ms)': Number(loopDelayMaxMs.toFixed(1)),
            'resident (MB)': Math.round(rssBytes / 1e6),
          }),
        );
        engines[backend] = await service.engines();
        await job?.end();
      }
    } finally {
      await service.stop();
    }
  }
  for (const [name, rows] of Object.entries(processes)) {
    console.log(`processes, ${name}`);
    console.table(rows);
  }
  console.log(
    `a bare forward pass of ${tokens} tokens: ${passMs.toFixed(1)} ms; maxBulkBatchMs ${maxBulkBatchMs}: under load the P95 ` +
      `of one client should stay below ${(maxBulkBatchMs + passMs + 20).toFixed(0)} ms`,
  );
  await report(`latency-${size}-${dtype}`, {
    settings: { backends, model: size, dtype, clients: clientCounts, seconds, tokens, maxBulkBatchMs },
    loadBefore,
    table,
    figures: { barePassMs: passMs, engines, processes },
  });
});

/** Median of 50 passes of one text on a bare session. */
async function barePass(graphFile: string): Promise<number> {
  const session = await openSession(graphFile);
  const times: number[] = [];
  for (let run = 0; run < 55; run++) times.push((await runBatches(session, [[tokens]])) * 1000);
  await session.release();
  return median(times.slice(5));
}

function above(ms: number, passMs: number): number {
  return Number((ms - passMs).toFixed(1));
}

async function measure({ url }: Service, { words }: BenchModel, clients: number, forSeconds: number) {
  const poster = openPoster();
  try {
    const next = (): Call => {
      const [text] = textsOf([tokens], words, ++textsMade);
      return {
        url: `${url}/embeddings`,
        json: JSON.stringify({ input: [text], outputs: ['dense'] }),
        units: 1,
      };
    };
    const loop = await closedLoop(poster, next, { clients, seconds: forSeconds });
    for (const { failure, times } of failuresOf(loop)) console.log(`${times} × ${failure}`);
    return summarize(loop, clients);
  } finally {
    poster.close();
  }
}

/** A job that outlasts the rows, and is running when this resolves. */
async function keepBusy({ url }: Service, { words }: BenchModel): Promise<{ end: () => Promise<void> }> {
  const client = new TrivecClient(url);
  const random = randomNumbers(5);
  const lengths = logNormalLengths(1000);
  const corpus = function* () {
    for (let i = 0; i < jobTexts(); i++)
      yield textsOf([lengths[Math.floor(random() * lengths.length)]!], words, 1_000_000 + i)[0]!;
  };
  const id = await submitJob(client, corpus());
  const waitUntilMs = performance.now() + 60_000;
  while ((await client.job(id)).status !== 'running' && performance.now() < waitUntilMs)
    await new Promise((resolve) => setTimeout(resolve, 50));
  return {
    end: async () => {
      const { status } = await client.job(id);
      if (status !== 'running') throw new Error(`The job was ${status} before the rows were over.`);
      await client.steer(id, 'cancel');
    },
  };
}

/** More than the fastest measured machine could embed meanwhile: 20,000 tokens/s of texts of 172 tokens. */
function jobTexts(): number {
  const rowSeconds = clientCounts.length * (seconds + 2);
  return Math.ceil((rowSeconds * (size === 'mini' ? 20_000 : 2_000)) / 172);
}
