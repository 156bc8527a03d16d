/** The first runs on a device: what the model's vectors measure, what batches take, and how large one may be. */
import { TrivecError } from '../errors.ts';
import type { CalibrationCache, Measurements } from './calibrationCache.ts';
import { chooseBudget } from './chooseBudget.ts';
import { type BatchCost, fitCost, type Shape } from './costModel.ts';
import type { Device, Wants } from './device.ts';
import { type BatchMemory, bytesOfBatch } from './memoryModel.ts';
import { sweep } from './sweep.ts';

/** On CPUs small batches stay in the caches; a GPU is kept busy by large ones. */
export const CPU_BUDGETS = [512, 1024, 2048, 4096];
/** One of them: in three sweeps of MiniLM's size 0.5 % slower than its neighbours at worst, 9 % faster at best. */
export const USUAL_CPU_BUDGET = 1024;
const GPU_BUDGETS = [1024, 2048, 4096, 8192, 16_384];
/** Of the memory that is free at the start: the rest is for other engines and for what they make. */
const MEMORY_SHARE = 1 / 4;
const RSS_INTERVAL_MS = 2;

export interface Measured {
  denseDims: number;
  colbertDims: number;
}

export interface Calibration {
  maxBatchTokens: number;
  /** configured: the budget was given, and the cost is that of one short text. */
  from: 'measured' | 'cached' | 'configured';
  cost: BatchCost;
  memory?: { model: BatchMemory; maxBytes: number } | undefined;
}

export interface CalibrateOptions {
  device: Device;
  /** As long as the longest shape that is tried, or as the model allows. */
  text: Int32Array;
  wants: Wants;
  maxTokens: number;
  maxBulkBatchMs: number;
  /** 0: a share of what is free. */
  maxBatchMemoryBytes: number;
  cache: CalibrationCache | undefined;
}

/**
 * Runs one text for all outputs and reads the sizes of its vectors.
 * Throws `invalid_model` where the model cannot run it.
 */
export async function measureDims(device: Device, text: Int32Array, wants: Wants): Promise<Measured> {
  try {
    const { vectors } = await device.run({ texts: [text], wants: [wants] });
    const [first] = vectors;
    if (first === undefined) throw new Error('the vectors of a short text are not finite');
    return { denseDims: first.dense?.length ?? 0, colbertDims: first.colbert?.dims ?? 0 };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TrivecError('invalid_model', `The model does not run: ${reason}`, { cause });
  }
}

/** What is said of a device whose budget is given: the time of one text, the better of two runs. */
export async function measureOne(device: Device, text: Int32Array, wants: Wants): Promise<BatchCost> {
  const run = async () => (await device.run({ texts: [text], wants: [wants] })).inferMs;
  const ms = Math.min(await run(), await run());
  return { fixedMs: 0, msPerToken: ms / text.length, msPerPair: 0 };
}

/** The budget that suits the device, from a short sweep or from one that an earlier start has kept. */
export async function calibrate(options: CalibrateOptions): Promise<Calibration> {
  const { device, maxTokens, maxBulkBatchMs, cache } = options;
  const maxBytes = options.maxBatchMemoryBytes || process.availableMemory() * MEMORY_SHARE;
  const cached = await cache?.read();
  const measurements = cached ?? (await measure(options, maxBytes));
  if (cached === undefined) await cache?.write(measurements);
  const { samples, bytesPerToken } = measurements;
  const memory = bytesPerToken === undefined ? undefined : { model: { bytesPerToken }, maxBytes };
  const cost = fitCost(samples);
  return {
    maxBatchTokens: chooseBudget(samples, cost, {
      maxTokens,
      maxBatchMs: maxBulkBatchMs,
      ...(isCpu(device) && { usualBudget: USUAL_CPU_BUDGET }),
      fits: (shape) => memory === undefined || bytesOfBatch(memory.model, shape) <= maxBytes,
    }),
    from: cached === undefined ? 'measured' : 'cached',
    cost,
    memory,
  };
}

async function measure(
  { device, text, wants, maxTokens, maxBulkBatchMs }: CalibrateOptions,
  maxBytes: number,
): Promise<Measurements> {
  // A GPU's memory cannot be seen from here: it says itself when there is none left.
  const seesMemory = isCpu(device);
  const rss = new RssMeter();
  const time = async ({ count, length }: Shape): Promise<number> => {
    const texts = Array.from({ length: count }, () => text.subarray(0, length));
    const run = device.run({ texts, wants: texts.map(() => wants) });
    return (await rss.during(run, count * length)).inferMs;
  };
  const samples = await sweep(time, {
    budgets: isCpu(device) ? CPU_BUDGETS : GPU_BUDGETS,
    maxTokens: Math.min(maxTokens, text.length),
    maxBatchMs: maxBulkBatchMs,
    fits: (shape) => !seesMemory || bytesOfBatch(rss.memory, shape) <= maxBytes,
  });
  return { samples, ...(seesMemory && { bytesPerToken: rss.memory.bytesPerToken }) };
}

function isCpu({ name }: Device): boolean {
  return name === 'cpu';
}

/** How the process grows over its size at the start, while batches run in another thread. */
class RssMeter {
  readonly #startBytes = process.memoryUsage.rss();
  #grownBytes = 0;
  #mostTokens = 1;

  async during<T>(run: Promise<T>, tokens: number): Promise<T> {
    const look = (): void => {
      this.#grownBytes = Math.max(this.#grownBytes, process.memoryUsage.rss() - this.#startBytes);
    };
    const timer = setInterval(look, RSS_INTERVAL_MS);
    try {
      return await run;
    } finally {
      clearInterval(timer);
      look();
      this.#mostTokens = Math.max(this.#mostTokens, tokens);
    }
  }

  /** What a process keeps after a run counts for the next: so growth is shared out over the largest run. */
  get memory(): BatchMemory {
    return { bytesPerToken: Math.max(1, this.#grownBytes / this.#mostTokens) };
  }
}
