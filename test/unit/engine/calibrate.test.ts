import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { BatchLimits } from '@trivec/core/engine/batchLimits';
import { CalibrationCache, type CalibrationKey } from '@trivec/core/engine/calibrationCache';
import { type BudgetLimits, chooseBudget } from '@trivec/core/engine/chooseBudget';
import { type BatchCost, fitCost, predictMs, textsWithin } from '@trivec/core/engine/costModel';
import { startOn } from '@trivec/core/engine/engine';
import { sweep } from '@trivec/core/engine/sweep';
import fc from 'fast-check';
import { StubDevice, silentLogger, stubModel, stubTokenizer } from '../../support/stubDevice.ts';

const SHAPES = [
  { count: 1, length: 16 },
  { count: 1, length: 512 },
  { count: 4, length: 128 },
  { count: 16, length: 128 },
  { count: 1, length: 1024 },
];
const timed = (cost: BatchCost) => SHAPES.map((shape) => ({ ...shape, ms: predictMs(cost, shape) }));
const coefficient = (max: number) =>
  fc.oneof(fc.constant(0), fc.double({ min: max / 1e4, max, noNaN: true }));

test('the fit finds the coefficients that made the times, none negative', () => {
  fc.assert(
    fc.property(coefficient(50), coefficient(5), coefficient(1e-2), (fixedMs, msPerToken, msPerPair) => {
      const cost = { fixedMs, msPerToken, msPerPair };
      fc.pre(fixedMs + msPerToken + msPerPair > 0);
      const fitted = fitCost(timed(cost));
      for (const sample of timed(cost))
        assert.ok(Math.abs(predictMs(fitted, sample) / sample.ms - 1) < 1e-4, JSON.stringify(fitted));
    }),
  );
  fc.assert(
    fc.property(fc.array(fc.double({ min: 1e-3, max: 1e4, noNaN: true }), { maxLength: 5 }), (times) => {
      const fitted = fitCost(times.map((ms, i) => ({ ...SHAPES[i]!, ms })));
      for (const value of Object.values(fitted)) assert.ok(value >= 0 && Number.isFinite(value));
    }),
  );
  const cost = { fixedMs: 2, msPerToken: 0.5, msPerPair: 1e-3 };
  const fitted = fitCost(timed(cost));
  for (const name of ['fixedMs', 'msPerToken', 'msPerPair'] as const)
    assert.ok(Math.abs(fitted[name] / cost[name] - 1) < 1e-6, name);
});

test('as many texts are within a time as are predicted to take it', () => {
  const cost = { fixedMs: 3, msPerToken: 0.1, msPerPair: 1e-4 };
  for (const length of [1, 100, 2000]) {
    const count = textsWithin(cost, length, 500);
    assert.ok(Math.abs(predictMs(cost, { count, length }) - 500) < 1e-6);
  }
});

test('a sweep stops at what takes too long, and the budget chosen stays within the time', async () => {
  for (const msPerToken of [0.001, 0.15, 3.5]) {
    const cost = { fixedMs: 0.5, msPerToken, msPerPair: 1e-5 };
    const limits = { maxTokens: 8192, maxBatchMs: 500 };
    const samples = await sweep(async (shape) => predictMs(cost, shape), {
      ...limits,
      budgets: [512, 1024, 2048, 4096],
    });
    const budget = chooseBudget(samples, fitCost(samples), limits);
    assert.ok(
      samples.every(({ ms }) => ms <= 500),
      `${msPerToken}`,
    );
    assert.ok(budget >= 64 && budget * msPerToken <= 500, `${msPerToken}: ${budget}`);
  }
});

test('a budget that was disturbed once when it was tried is tried again', async () => {
  let runs = 0;
  const samples = await sweep(
    async ({ count, length }) => {
      const disturbed = count * length === 1024 && runs++ === 0;
      return (count * length) / 10 + (disturbed ? 100 : 0);
    },
    { budgets: [512, 1024, 2048], maxTokens: 128, maxBatchMs: 500 },
  );
  assert.deepEqual(
    samples.filter(({ count }) => count > 1).map(({ ms }) => ms),
    [51.2, 102.4, 204.8],
  );
});

test('of budgets that are as fast, the one that pads less is taken; none larger than the memory', () => {
  const samples = [512, 1024, 2048, 4096].map((tokens) => ({
    count: tokens / 128,
    length: 128,
    ms: tokens,
  }));
  const limits = { maxTokens: 2048, maxBatchMs: 5000 };
  assert.equal(chooseBudget(samples, fitCost(samples), limits), 512);
  const faster = samples.map((sample) => ({ ...sample, ms: sample.ms / sample.count ** 0.3 }));
  assert.equal(chooseBudget(faster, fitCost(faster), limits), 4096);
  const fits = ({ count }: { count: number }) => count <= 8;
  assert.equal(chooseBudget(faster, fitCost(faster), { ...limits, fits }), 1024);
});

test('the usual budget is taken unless another is faster by more than runs differ', () => {
  const timed = (ms: readonly number[]) =>
    ms.map((each, i) => ({ count: 4 * 2 ** i, length: 128, ms: each }));
  const chosen = (ms: readonly number[], more: Partial<BudgetLimits> = {}) =>
    chooseBudget(timed(ms), fitCost(timed(ms)), {
      maxTokens: 2048,
      maxBatchMs: 500,
      usualBudget: 1024,
      ...more,
    });
  assert.equal(chosen([61, 125, 250, 500]), 1024);
  assert.equal(chosen([40, 125, 250, 500]), 512);
  assert.equal(chosen([62, 125, 190, 500]), 2048);
  assert.equal(chosen([58, 125], { maxBatchMs: 100 }), 512);
});

test('batches are bounded in time as they really run, and in memory', () => {
  const limits = new BatchLimits({
    maxBatchTokens: 4096,
    time: { cost: { fixedMs: 0, msPerToken: 0.1, msPerPair: 0 }, maxMs: 100 },
    memory: { model: { bytesPerToken: 1000 }, maxBytes: 3e7 },
  });
  assert.equal(Math.round(limits.maxTexts(100)), 10);
  for (let batch = 0; batch < 100; batch++) limits.succeeded({ count: 10, length: 100 }, 200);
  assert.equal(Math.round(limits.maxTexts(100)), 5);
  for (let batch = 0; batch < 200; batch++) limits.succeeded({ count: 10, length: 100 }, 100);
  assert.equal(Math.round(limits.maxTexts(100)), 10);
  // Here attention's scores are the larger part.
  assert.ok(limits.maxTexts(1000) < 1);
  limits.outOfMemory({ count: 8, length: 128 });
  assert.equal(limits.tokens, 512);
});

const KEY: CalibrationKey = {
  fingerprint: 'f',
  device: 'cpu',
  session: '{"intraOpNumThreads":2}',
  onnxruntime: '1',
  processor: 'p',
  maxBulkBatchMs: 500,
};

test('measurements are kept for the same model and machine; a broken or foreign file is ignored', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'trivec-calibration-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const measurements = { samples: [{ count: 1, length: 16, ms: 2.5 }], bytesPerToken: 9000 };
  const cache = new CalibrationCache(folder, KEY);
  assert.equal(await cache.read(), undefined);
  await cache.write(measurements);
  assert.deepEqual(await new CalibrationCache(folder, { ...KEY }).read(), measurements);
  assert.equal(
    await new CalibrationCache(folder, { ...KEY, session: '{"intraOpNumThreads":4}' }).read(),
    undefined,
  );

  const [name, ...others] = await readdir(join(folder, 'calibration'));
  assert.deepEqual(others, []);
  const file = join(folder, 'calibration', name!);
  const content = JSON.parse(await readFile(file, 'utf8')) as { key: string };
  for (const broken of [
    '{"key":',
    JSON.stringify({ ...content, key: content.key.replace('cpu', 'cuda:0') }),
    JSON.stringify({ ...content, samples: [] }),
    JSON.stringify({ ...content, samples: [{ count: 1, length: 16, ms: -1 }] }),
    JSON.stringify({ ...content, bytesPerToken: 'many' }),
  ]) {
    await writeFile(file, broken);
    assert.equal(await cache.read(), undefined, broken);
  }
  await new CalibrationCache(file, KEY).write(measurements);
});

test('an engine measures once, and starts from what it kept', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'trivec-calibration-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const start = async (maxBatchTokens: number) => {
    const device = new StubDevice();
    const engine = await startOn(device, stubTokenizer, {
      model: stubModel,
      config: {
        device: 'cpu',
        intraOpThreads: 1,
        intraOpSpinning: false,
        maxBulkBatchMs: 500,
        maxBulkTextTokens: 7,
        maxBatchTokens,
        dataDir: folder,
      },
      logger: silentLogger,
    });
    return { engine, runs: device.batches.length };
  };
  const [first, second, third] = [await start(0), await start(0), await start(100)];
  assert.deepEqual(
    [first, second, third].map(({ engine }) => engine.calibration?.from),
    ['measured', 'cached', 'configured'],
  );
  assert.ok(second.runs < first.runs);
  assert.equal(second.engine.maxBatchTokens, first.engine.maxBatchTokens);
  assert.equal(third.engine.maxBatchTokens, 100);
  const words = 'one two three four five six seven eight';
  const [bulk] = await second.engine.encode([words], { lane: 'bulk' });
  const [interactive] = await second.engine.encode([words]);
  assert.deepEqual([bulk!.ids.length, bulk!.originalTokens, interactive!.ids.length], [7, 10, 10]);
  for (const { engine } of [first, second, third]) await engine.close();
});
