import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Device,
  type DeviceBatch,
  DeviceError,
  type DeviceFailure,
  type DeviceResult,
} from '@trivec/core/engine/device';
import { startOn } from '@trivec/core/engine/engine';
import type { Engine } from '@trivec/core/engine/types';
import type { ModelDescription } from '@trivec/core/models/folder';
import type { Tokenizer } from '@trivec/core/models/tokenizer';
import { finishSparse, normalizeRows } from '@trivec/core/vectors/heads';
import type { TextVectors } from '@trivec/core/vectors/types';

export interface StubOptions {
  /** What a batch takes: padded tokens times this. */
  msPerToken?: number;
  /** What its vectors take after the pass, while the next one may run. */
  finishMs?: number;
  denseDims?: number;
  colbertDims?: number;
  /** Says whether a batch fails, and how. */
  failure?: (texts: readonly Int32Array[]) => DeviceFailure | undefined;
}

/** A device without a model: it sleeps, and its vectors depend on nothing but a text's ids. */
export class StubDevice implements Device {
  readonly name = 'stub';
  /** The texts of every batch that was asked for, in order. */
  readonly batches: (readonly Int32Array[])[] = [];
  closed = false;
  /** Sleeps and fails as it is told to; an engine's warm-up comes before. */
  armed = false;
  readonly #options: StubOptions;
  /** A pass runs now. */
  running = false;
  /** Batches whose vectors came while the next pass ran. */
  finishedBehind = 0;

  constructor(options: StubOptions = {}) {
    this.#options = options;
  }

  async run({ texts, wants }: DeviceBatch, onPassed?: () => void): Promise<DeviceResult> {
    if (this.running) throw new Error('Two batches at once.');
    this.running = true;
    this.batches.push(texts);
    const startedAt = performance.now();
    const longest = Math.max(...texts.map(({ length }) => length));
    await sleep(this.armed ? longest * texts.length * (this.#options.msPerToken ?? 0) : 0);
    this.running = false;
    const failure = this.armed ? this.#options.failure?.(texts) : undefined;
    if (failure !== undefined) throw new DeviceError(failure, `stub: ${failure}`);
    const vectors = texts.map((ids, i) => stubVectors(ids, wants[i]!, this.#options));
    const inferMs = performance.now() - startedAt;
    if (this.armed && this.#options.finishMs !== undefined) {
      const given = this.batches.length;
      onPassed?.();
      await sleep(this.#options.finishMs);
      if (this.batches.length > given) this.finishedBehind++;
    }
    return { vectors, inferMs };
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

function stubVectors(
  ids: Int32Array,
  wants: DeviceBatch['wants'][number],
  { denseDims = 8, colbertDims = 4 }: StubOptions,
): TextVectors {
  const row = (seed: number, dims: number): Float32Array => {
    const raw = Float32Array.from({ length: dims }, (_, d) => Math.sin(seed * (d + 1) + d));
    normalizeRows(raw, raw, dims);
    return raw;
  };
  const seed = ids.reduce((sum, id, i) => (sum * 31 + id + i) % 100_003, 7);
  const vectors: TextVectors = { tokens: ids.length };
  if (wants.dense) vectors.dense = row(seed, wants.dimensions || denseDims);
  if (wants.sparse)
    vectors.sparse = finishSparse(
      ids,
      Float32Array.from(ids, (id) => (id % 7) / 7),
      new Set([0, 1, 2, 3]),
    );
  if (wants.colbert) {
    const rows = ids.length - 1;
    const data = new Float32Array(rows * colbertDims);
    for (let i = 0; i < rows; i++) data.set(row(ids[i + 1]!, colbertDims), i * colbertDims);
    vectors.colbert = { rows, dims: colbertDims, data };
  }
  return vectors;
}

/** One id a word, by its letters; 0 before and 2 after. Decoding gives `#id` a token. */
export const stubTokenizer: Tokenizer = {
  kind: 'js',
  encode: async (texts, { maxTokens }) =>
    texts.map((text) => {
      const words = text.split(/\s+/).filter((word) => word !== '');
      const ids = words.map(
        (word) => 4 + ([...word].reduce((sum, c) => sum * 33 + c.codePointAt(0)!, 5) % 996),
      );
      return { ids: Int32Array.from([0, ...ids.slice(0, maxTokens - 2), 2]), originalTokens: ids.length + 2 };
    }),
  encodePairs: (pairs, { maxTokens }) =>
    stubTokenizer.encode(
      pairs.map((pair) => pair.join(' ')),
      { maxTokens },
    ),
  decode: async (ids) =>
    ids.map((list) =>
      list
        .filter((id) => id > 3)
        .map((id) => `#${id}`)
        .join(' '),
    ),
};

export const stubModel: ModelDescription = {
  info: {
    kind: 'embedding',
    name: 'stub',
    fingerprint: '0123456789abcdef0123456789abcdef',
    dtype: 'fp32',
    outputs: ['dense', 'sparse', 'colbert'],
    denseDims: 8,
    colbertDims: 4,
    maxTokens: 512,
    standIn: true,
    description: 'A device that sleeps.',
    license: 'Apache-2.0',
  },
  folder: '',
  bytes: 1000,
  graphFile: '',
  tokenizerFile: '',
  inputs: [],
  heads: { ignoredSparseIds: [0, 1, 2, 3] },
  addedHeadsFolder: undefined,
  padId: 1,
  paddingSide: 'right',
};

/** An engine on a stub device, which `device` lets a test look at. */
export async function startStubEngine(
  options: StubOptions & { maxBatchTokens?: number; onUnavailable?: () => void } = {},
): Promise<{ engine: Engine; device: StubDevice }> {
  const device = new StubDevice(options);
  const engine = await startOn(device, stubTokenizer, {
    model: stubModel,
    config: {
      device: 'cpu',
      intraOpThreads: 1,
      intraOpSpinning: false,
      maxBatchTokens: options.maxBatchTokens ?? 1024,
      maxBulkBatchMs: 500,
    },
    logger: silentLogger,
    ...(options.onUnavailable && { onUnavailable: options.onUnavailable }),
  });
  device.batches.length = 0;
  device.armed = true;
  return { engine, device };
}

export const silentLogger = { info: () => {}, warn: () => {}, error: () => {} };
