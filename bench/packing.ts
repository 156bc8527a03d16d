/**
 * `npm run bench:packing -- [--texts 64] [--rounds 5] [--seconds 270]`: real tokens/s of ways to pack the same texts, on
 * a bare session of MiniLM's size. The ways take turns, every other round backwards; the rounds end early when the seconds
 * are used up. Processor time is shown beside: other work on the machine changes it less.
 */
import '@trivec/core/startAsServer';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { BatchLimits } from '@trivec/core/engine/batchLimits';
import { CPU_BUDGETS, USUAL_CPU_BUDGET } from '@trivec/core/engine/calibrate';
import { chooseBudget } from '@trivec/core/engine/chooseBudget';
import { fitCost } from '@trivec/core/engine/costModel';
import { sweep } from '@trivec/core/engine/sweep';
import { numberFlag, parseFlags } from './speed/flags.ts';
import {
  flopsPerToken,
  makeModelFolder,
  measureMatMul,
  openSession,
  report,
  runBatches,
  withFolder,
} from './speed/rig.ts';
import {
  logNormalLengths,
  median,
  packAsEngine,
  packByCount,
  packFirstCome,
  paddingEfficiency,
} from './speed/texts.ts';

const { values: flags } = parseFlags({
  options: {
    texts: { type: 'string', default: '64' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '270' },
    'max-bulk-batch-ms': { type: 'string', default: '500' },
  },
});
const maxBatchMs = numberFlag('max-bulk-batch-ms', flags['max-bulk-batch-ms'], 1);
const maxRounds = numberFlag('rounds', flags.rounds, 1);
const seconds = numberFlag('seconds', flags.seconds);
const loadBefore = loadavg();
const lengths = logNormalLengths(numberFlag('texts', flags.texts, 1));
const realTokens = lengths.reduce((sum, tokens) => sum + tokens, 0);

await withFolder(async (folder) => {
  await makeModelFolder(folder);
  const session = await openSession(join(folder, 'model.onnx'));
  const gigaflopsPerSecond = await measureMatMul();
  await runBatches(session, [[64]]);
  // As the engine finds its own.
  const limits = {
    maxTokens: Math.max(...lengths),
    maxBatchMs,
  };
  const samples = await sweep(
    async ({ count, length }) => (await runBatches(session, [Array(count).fill(length)])) * 1000,
    { ...limits, budgets: CPU_BUDGETS },
  );
  const cost = fitCost(samples);
  const budget = chooseBudget(samples, cost, { ...limits, usualBudget: USUAL_CPU_BUDGET });
  const { costMs } = new BatchLimits({ maxBatchTokens: budget, time: { cost, maxMs: limits.maxBatchMs } });
  const sorted = lengths.toSorted((a, b) => b - a);
  const ways: Record<string, number[][]> = {
    engine: packAsEngine(lengths, budget, costMs),
    'arrival order, 32': packByCount(lengths, 32),
    'one at a time': packByCount(lengths, 1),
    'sorted, 32': packByCount(sorted, 32),
    'first come, 16384': packFirstCome(lengths, 16_384),
    'budget alone': packAsEngine(lengths, budget),
  };
  const none = () => Object.fromEntries(Object.keys(ways).map((way) => [way, [] as number[]]));
  const [speeds, processorMs] = [none(), none()];
  const endAtMs = performance.now() + seconds * 1000;
  let rounds = 0;
  let longestRoundMs = 0;
  while (rounds < maxRounds && performance.now() + longestRoundMs < endAtMs) {
    const startedAtMs = performance.now();
    const turns = Object.entries(ways);
    for (const [way, batches] of rounds % 2 === 0 ? turns : turns.toReversed()) {
      const before = process.cpuUsage();
      speeds[way]!.push(realTokens / (await runBatches(session, batches)));
      const { user, system } = process.cpuUsage(before);
      processorMs[way]!.push((user + system) / realTokens);
    }
    longestRoundMs = Math.max(longestRoundMs, performance.now() - startedAtMs);
    rounds++;
  }
  await session.release();
  const table = Object.fromEntries(
    Object.entries(ways).map(([way, batches]) => [
      way,
      {
        'real tokens/s': Math.round(median(speeds[way]!)),
        'engine ÷ this': median(speeds.engine!.map((speed, i) => speed / speeds[way]![i]!)).toFixed(2),
        'processor ms/1000 tokens': Math.round(median(processorMs[way]!)),
        'engine ÷ this, processor': median(
          processorMs.engine!.map((ms, i) => processorMs[way]![i]! / ms),
        ).toFixed(2),
        efficiency: paddingEfficiency(batches).toFixed(2),
        batches: batches.length,
      },
    ]),
  );
  await report('packing', {
    settings: { texts: lengths.length, realTokens, longest: sorted[0], rounds, budget },
    loadBefore,
    table,
    figures: {
      matMulGigaflopsPerSecond: Math.round(gigaflopsPerSecond),
      floorTokensPerSecond: Math.round(
        (gigaflopsPerSecond * 1e9) / flopsPerToken(realTokens / lengths.length),
      ),
    },
  });
});
