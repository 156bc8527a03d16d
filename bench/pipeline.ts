/**
 * `npm run bench:pipeline -- [--backend embedded|redis] [--model mini|m3] [--dtype fp32|int8] [--texts 1024] [--rounds 5]
 * [--seconds 400] [--profile yes|no]`: real tokens/s of a job (HTTP in, results on disk, the server in processes of its
 * own) ÷ a bare loop of `session.run` over the same texts in the packing that a sweep found best. They take turns; the
 * rounds end early when the seconds are used up. Then a profile of one more job says where the time goes.
 */
import '@trivec/core/startAsServer';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { InferenceSession } from 'onnxruntime-node';
import { readFlags } from './speed/flags.ts';
import { runJob } from './speed/jobs.ts';
import { BENCH_SIZES, type BenchModel, DTYPES, makeBenchModel } from './speed/models.ts';
import { type CpuProfile, threadOf, timeByArea } from './speed/profile.ts';
import { openSession, report, runBatches, withFolder } from './speed/rig.ts';
import { BACKENDS, startService } from './speed/service.ts';
import { logNormalLengths, median, packAsEngine } from './speed/texts.ts';
import { textsOf } from './speed/words.ts';

const flags = readFlags({
  backend: 'embedded',
  model: 'mini',
  dtype: 'fp32',
  texts: '1024',
  rounds: '5',
  seconds: '400',
  budgets: '512,1024,2048',
  profile: 'yes',
});
const backend = flags.choice('backend', BACKENDS);
const size = flags.choice('model', Object.keys(BENCH_SIZES) as (keyof typeof BENCH_SIZES)[]);
const dtype = flags.choice('dtype', DTYPES);
const lengthsWanted = logNormalLengths(flags.number('texts', 1));
const budgets = flags.numbers('budgets', 1);
const rounds = flags.number('rounds', 1);
const endAtMs = performance.now() + flags.number('seconds', 1) * 1000;
const wantsProfile = flags.choice('profile', ['yes', 'no']) === 'yes';
const loadBefore = loadavg();

await withFolder(async (folder) => {
  const model = await makeBenchModel(join(folder, 'model'), size, dtype);
  const texts = textsOf(lengthsWanted, model.words);
  const tokenizeAtMs = performance.now();
  const encoded = await model.tokenizer.encode(texts, { maxTokens: 2048 });
  const tokenizeSeconds = (performance.now() - tokenizeAtMs) / 1000;
  const lengths = encoded.map(({ ids }) => ids.length);
  const realTokens = lengths.reduce((sum, tokens) => sum + tokens, 0);
  const session = await openSession(model.description.graphFile);
  const sweep = await sweepBudgets(session, lengths, realTokens);
  const best = sweep.reduce((a, b) => (b.tokensPerSecond > a.tokensPerSecond ? b : a));
  const batches = packAsEngine(lengths, best.budget);
  console.log('sweep of the bare loop (real tokens/s by budget)');
  console.table(Object.fromEntries(sweep.map(({ budget, ...rest }) => [budget, rest])));

  const bareSpeed = async () => realTokens / (await runBatches(session, batches));
  const jobSpeeds: number[] = [];
  const bareSpeeds = [await bareSpeed()];
  const service = await startService({ backend, env: model.env });
  let processes: Awaited<ReturnType<typeof service.processes>>;
  let engines: unknown[];
  try {
    await runJob(service.url, texts.slice(0, 32));
    await service.resetDelays();
    let longestMs = 0;
    for (let round = 0; round < rounds && performance.now() + longestMs < endAtMs; round++) {
      const startedAtMs = performance.now();
      const job = await runJob(service.url, texts);
      if (job.tokens !== realTokens)
        throw new Error(`The job counts ${job.tokens} tokens, not ${realTokens}.`);
      jobSpeeds.push(realTokens / job.seconds);
      bareSpeeds.push(await bareSpeed());
      longestMs = Math.max(longestMs, performance.now() - startedAtMs);
    }
    processes = await service.processes();
    engines = await service.engines();
  } finally {
    await service.stop();
  }
  if (jobSpeeds.length === 0) throw new Error('No round fitted into --seconds; give more, or fewer --texts.');
  const breakdown = wantsProfile ? await profileJob(model, texts) : undefined;
  await session.release();
  // A machine's pace drifts: each job is compared with the bare loops before and after it.
  const ratios = jobSpeeds.map((speed, i) => (2 * speed) / (bareSpeeds[i]! + bareSpeeds[i + 1]!));
  await report(`pipeline-${backend}-${size}-${dtype}`, {
    settings: {
      backend,
      model: size,
      dtype,
      texts: texts.length,
      realTokens,
      rounds: ratios.length,
      bestBudget: best.budget,
    },
    loadBefore,
    table: {
      job: { 'real tokens/s': Math.round(median(jobSpeeds)), 'job ÷ bare': median(ratios).toFixed(3) },
      'bare loop': { 'real tokens/s': Math.round(median(bareSpeeds)), 'job ÷ bare': '' },
    },
    figures: { ratios, sweep, tokenizeSeconds, engines, processes, breakdown },
  });
});

interface SweepRow {
  budget: number;
  tokensPerSecond: number;
  batches: number;
}

async function sweepBudgets(
  session: InferenceSession,
  lengths: readonly number[],
  realTokens: number,
): Promise<SweepRow[]> {
  await runBatches(session, [[512], [64, 64, 64, 64]]);
  const rows: SweepRow[] = [];
  for (const budget of budgets) {
    const batches = packAsEngine(lengths, budget);
    const seconds = await runBatches(session, batches);
    rows.push({ budget, tokensPerSecond: Math.round(realTokens / seconds), batches: batches.length });
  }
  return rows;
}

/** One job on a server under a profiler, embedded: each thread's milliseconds by area while the job ran. */
async function profileJob(
  model: BenchModel,
  texts: readonly string[],
): Promise<Record<string, Record<string, number>>> {
  const folder = await mkdtemp(join(tmpdir(), 'trivec-profile-'));
  try {
    const nodeFlags = ['--cpu-prof', `--cpu-prof-dir=${folder}`, '--cpu-prof-interval=1000'];
    const service = await startService({ backend: 'embedded', env: model.env, nodeFlags });
    let fromUs: number;
    let toUs: number;
    try {
      await runJob(service.url, texts.slice(0, 32));
      fromUs = Number(process.hrtime.bigint() / 1000n);
      await runJob(service.url, texts);
      toUs = Number(process.hrtime.bigint() / 1000n);
    } finally {
      await service.stop();
    }
    const threads: Record<string, Record<string, number>> = {};
    for (const name of await readdir(folder)) {
      const profile = JSON.parse(await readFile(join(folder, name), 'utf8')) as CpuProfile;
      const byArea = [...timeByArea(profile, fromUs, toUs)].sort(([, a], [, b]) => b - a);
      if (byArea.length === 0) continue;
      const total = byArea.reduce((sum, [, ms]) => sum + ms, 0);
      threads[threadOf(profile)] = Object.fromEntries(byArea.map(([area, ms]) => [area, Math.round(ms)]));
      console.log(`${threadOf(profile)} thread, of ${Math.round(total)} ms:`);
      console.table(
        Object.fromEntries(
          byArea.map(([area, ms]) => [
            area,
            { ms: Math.round(ms), share: `${((100 * ms) / total).toFixed(1)} %` },
          ]),
        ),
      );
    }
    return threads;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
