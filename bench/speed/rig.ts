/** Devices, models and reports of the speed benches. */
import { execFileSync } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { create } from '@bufbuild/protobuf';
import { countCores } from '@trivec/core/engine/cpuCount';
import { sessionOptions } from '@trivec/core/engine/sessionOptions';
import { DataType, encodeModel, floatTensor, makeNode, makeValueInfo } from '@trivec/core/onnx/proto';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { GraphProtoSchema, ModelProtoSchema } from '../../packages/core/src/onnx/proto/onnx_pb.js';
import { type EncoderSize, SIZES, writeEncoder } from '../models/encoder.ts';

const MINI_FOLDER = fileURLToPath(new URL('../../models/mini/', import.meta.url));

/** MiniLM's layers; the built-in model's vocabulary, whose tokenizer it uses; room for 2,000 tokens. */
export const SIZE = { ...SIZES.mini, vocabulary: 42_417, positions: 2052 };

/** As the engine opens its session. */
export function openSession(source: string | Uint8Array): Promise<InferenceSession> {
  const options = sessionOptions({
    provider: { device: 'cpu', name: 'cpu' },
    intraOpThreads: countCores(),
    spinWhenIdle: false,
  });
  return typeof source === 'string'
    ? InferenceSession.create(source, options)
    : InferenceSession.create(source, options);
}

export async function withFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'trivec-bench-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A folder that the engine takes as a model: random weights, mean pooling, dense output only. */
export async function makeModelFolder(folder: string, size: EncoderSize = SIZE): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeEncoder(join(folder, 'model.onnx'), size);
  await copyFile(join(MINI_FOLDER, 'tokenizer.json'), join(folder, 'tokenizer.json'));
  const config = {
    vocab_size: size.vocabulary,
    max_position_embeddings: size.positions - 2,
    hidden_size: size.hidden,
    pad_token_id: 0,
  };
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  const own = { name: 'bench', pooling: 'mean', maxTokens: 2048, dtype: 'fp32' };
  await writeFile(join(folder, 'trivec.json'), JSON.stringify(own));
}

/** Feeds of one batch, padded to its longest text; ids are arbitrary ones of the vocabulary. */
export function feedsOf(batch: readonly number[]): Record<string, Tensor> {
  const length = Math.max(...batch);
  const [ids, mask] = [new BigInt64Array(batch.length * length), new BigInt64Array(batch.length * length)];
  for (const [row, tokens] of batch.entries())
    for (let i = row * length; i < row * length + tokens; i++) {
      ids[i] = BigInt(4 + ((i * 2654435761) % (SIZE.vocabulary - 4)));
      mask[i] = 1n;
    }
  const dims = [batch.length, length];
  return {
    input_ids: new Tensor('int64', ids, dims),
    attention_mask: new Tensor('int64', mask, dims),
  };
}

/** Seconds of a bare loop over the batches. */
export async function runBatches(
  session: InferenceSession,
  batches: readonly (readonly number[])[],
): Promise<number> {
  const startedAt = performance.now();
  for (const batch of batches) await session.run(feedsOf(batch));
  return (performance.now() - startedAt) / 1000;
}

/** GFLOP/s of the model's widest fp32 product over 1,024 rows, the best of 20: what the machine could do. */
export async function measureMatMul(): Promise<number> {
  const [rows, inner, outer] = [1024, SIZE.hidden, SIZE.feedForward];
  const graph = create(GraphProtoSchema, {
    name: 'product',
    node: [makeNode('MatMul', ['a', 'b'], ['c'])],
    initializer: [floatTensor('b', [inner, outer], new Float32Array(inner * outer).fill(0.01))],
    input: [makeValueInfo('a', DataType.FLOAT, [rows, inner])],
    output: [makeValueInfo('c', DataType.FLOAT, [rows, outer])],
  });
  const model = { irVersion: 8n, opsetImport: [{ domain: '', version: 17n }], graph };
  const session = await openSession(encodeModel(create(ModelProtoSchema, model)));
  const feeds = { a: new Tensor('float32', new Float32Array(rows * inner).fill(0.01), [rows, inner]) };
  let least = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 20; run++) {
    const startedAt = performance.now();
    await session.run(feeds);
    least = Math.min(least, (performance.now() - startedAt) / 1000);
  }
  await session.release();
  return (2 * rows * inner * outer) / least / 1e9;
}

/** Multiply-adds × 2 for one token in a text of `length` tokens: products with weights, and attention. */
export function flopsPerToken(length: number): number {
  const { layers, hidden, feedForward } = SIZE;
  return layers * (2 * (4 * hidden ** 2 + 2 * hidden * feedForward) + 4 * length * hidden);
}

export interface Report {
  settings: Record<string, unknown>;
  loadBefore: number[];
  table: Record<string, Record<string, number | string>>;
  figures?: Record<string, unknown>;
}

/** Prints the table and writes bench/out/NAME.json. */
export async function report(name: string, { table, ...rest }: Report): Promise<void> {
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  const machine = { cpu: cpus()[0]?.model, cores: countCores(), node: process.version };
  console.table(table);
  console.log({ ...rest, loadAfter: loadavg() });
  await mkdir(new URL('../out/', import.meta.url), { recursive: true });
  await writeFile(
    new URL(`../out/${name}.json`, import.meta.url),
    `${JSON.stringify({ commit, machine, ...rest, loadAfter: loadavg(), table }, null, 2)}\n`,
  );
}
