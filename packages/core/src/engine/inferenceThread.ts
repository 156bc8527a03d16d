/**
 * Entry of the inference thread: it owns one onnxruntime session. A run blocks its thread and nothing else.
 * Stopping it during a run aborts the whole process, so it is asked, and closes itself between runs.
 */
import { dirname } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { env, InferenceSession, Tensor, type TypedTensor } from 'onnxruntime-node';
import { TrivecError } from '../errors.ts';
import { addHeads } from '../onnx/addHeads.ts';
import { addYesNo } from '../onnx/addYesNo.ts';
import { readModelFile } from '../onnx/inspect.ts';
import { readM3Heads } from '../onnx/m3Heads.ts';
import type { HeadPlan } from '../vectors/headPlan.ts';
import { buildFeeds } from './feeds.ts';
import { finishBatch, type PackedBatch, type PackedVectors, type RawTensor } from './finishBatch.ts';
import { missingFiles } from './providerFiles.ts';
import type { Provider } from './providers.ts';
import { sessionOptions } from './sessionOptions.ts';
import type { FromThread, Refusal, ThreadSetup, ToThread } from './threadMessages.ts';
import { lowerThreadPriority } from './threadPriority.ts';

const port = parentPort!;
const setup = workerData as ThreadSetup;
// What goes wrong is thrown too; onnxruntime's own lines would only stand between ours.
env.logLevel = 'fatal';

const stopFlag = new Int32Array(setup.stop);

const OUT_OF_MEMORY =
  /out of memory|bad_alloc|failed to allocate|alloc_failed|allocation failed|memoryallocation/i;

interface Graph {
  source: string | Uint8Array;
  heads: HeadPlan;
}

async function loadGraph(): Promise<Graph> {
  if (setup.yesNo !== undefined) {
    const { bytes, output } = addYesNo(await readModelFile(setup.graphFile), setup.yesNo);
    return { source: bytes, heads: { ...setup.heads, dense: { ...setup.heads.dense, output } } };
  }
  if (setup.addedHeadsFolder === undefined) return { source: setup.graphFile, heads: setup.heads };
  const { bytes, outputs } = addHeads(
    await readModelFile(setup.graphFile),
    await readM3Heads(setup.addedHeadsFolder),
  );
  const { ignoredSparseIds } = setup.heads;
  return {
    source: bytes,
    heads: {
      dense: { output: outputs.dense },
      sparse: { output: outputs.sparse },
      colbert: { output: outputs.colbert },
      ignoredSparseIds,
    },
  };
}

function createSession({ source }: Graph, provider: Provider): Promise<InferenceSession> {
  const { intraOpThreads, allowSpinning: spinWhenIdle } = setup;
  if (typeof source === 'string')
    return InferenceSession.create(source, sessionOptions({ provider, intraOpThreads, spinWhenIdle }));
  const dataFolder = dirname(setup.graphFile);
  return InferenceSession.create(
    source,
    sessionOptions({ provider, intraOpThreads, spinWhenIdle, dataFolder }),
  );
}

/** Providers don't fall back by themselves: one refused session after the other, until one is there. */
async function openSession(graph: Graph): Promise<InferenceSession | undefined> {
  const refused: Refusal[] = [];
  for (const provider of setup.providers) {
    const missing = missingFiles(provider);
    if (missing !== undefined) {
      refused.push({ device: provider.device, reason: missing });
      continue;
    }
    // Before the session is made: its own threads are started from this one, and are like it. A GPU must not wait for
    // a thread that only gives it work.
    if (provider.name === 'cpu') lowerThreadPriority();
    try {
      const session = await createSession(graph, provider);
      send({ type: 'ready', device: provider.device, refused });
      return session;
    } catch (error) {
      refused.push({ device: provider.device, reason: messageOf(error) });
    }
  }
  send({ type: 'unusable', refused });
  return undefined;
}

async function run(
  session: InferenceSession,
  heads: HeadPlan,
  batch: PackedBatch,
): Promise<{ vectors: PackedVectors; inferMs: number }> {
  const length = batch.lengths.reduce((most, tokens) => Math.max(most, tokens), 0);
  const feeds: Record<string, Tensor> = {};
  // The constructor's overloads name every pair of type and data; the feeds were built as such pairs.
  for (const { name, dtype, data, dims } of buildFeeds(batch, length, setup))
    feeds[name] = new Tensor(dtype as 'int64', data as BigInt64Array, dims);
  const startedAt = performance.now();
  const results = await session.run(feeds, wantedOutputs(heads, batch));
  const inferMs = performance.now() - startedAt;
  send({ type: 'passed' });
  const tensors = new Map(
    Object.entries(results).map(([name, tensor]) => [
      name,
      { data: toFloat32(tensor as Tensor), dims: tensor.dims },
    ]),
  ) satisfies Map<string, RawTensor>;
  const vectors = finishBatch(tensors, batch, length, { heads, paddingSide: setup.paddingSide });
  for (const tensor of Object.values(results)) giveBack(tensor as Tensor);
  return { vectors, inferMs };
}

/** At once: this thread makes so little else that the garbage collector would come after some 60 MB of them. */
function giveBack(tensor: Tensor): void {
  const { buffer } = tensor.data as Float32Array;
  (buffer as ArrayBuffer).transfer(0);
}

/** Everything is computed all the same, but only what is named is copied out. */
function wantedOutputs(heads: HeadPlan, { wants }: PackedBatch): string[] {
  const kinds = ['dense', 'sparse', 'colbert'] as const;
  const names = kinds.filter((kind) => wants.some((want) => want[kind])).map((kind) => heads[kind]?.output);
  return [...new Set(names.filter((name) => name !== undefined))];
}

function toFloat32(tensor: Tensor): Float32Array {
  if (tensor.type === 'float32') return (tensor as TypedTensor<'float32'>).data;
  if (tensor.type === 'float16') {
    const { data } = tensor as { data: Uint16Array | Float16Array };
    return new Float32Array(data instanceof Uint16Array ? asFloat16(data) : data);
  }
  throw new Error(`The model gave ${tensor.type} where float32 or float16 is expected.`);
}

function asFloat16(bits: Uint16Array): Float16Array {
  return new Float16Array(bits.buffer as ArrayBuffer, bits.byteOffset, bits.length);
}

function send(message: FromThread, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function answer(session: InferenceSession, heads: HeadPlan, batch: PackedBatch): Promise<void> {
  try {
    if (Atomics.load(stopFlag, 0) === 1) throw new Error('The engine is closing.');
    const { vectors, inferMs } = await run(session, heads, batch);
    const buffers = Object.values(vectors).filter((value) => typeof value !== 'number');
    send(
      { type: 'done', vectors, inferMs },
      buffers.map(({ buffer }) => buffer as ArrayBuffer),
    );
  } catch (error) {
    const message = messageOf(error);
    send({ type: 'failed', message, outOfMemory: OUT_OF_MEMORY.test(message) });
  }
}

async function main(): Promise<void> {
  let graph: Graph;
  try {
    graph = await loadGraph();
  } catch (error) {
    if (!(error instanceof TrivecError)) throw error;
    send({ type: 'invalid', message: error.message });
    return;
  }
  const session = await openSession(graph);
  if (session === undefined) return;
  const { heads } = graph;
  graph.source = '';
  let busy = Promise.resolve();
  port.on('message', (message: ToThread) => {
    busy = busy.then(async () => {
      if (message.type === 'run') return answer(session, heads, message.batch);
      await session.release();
      port.close();
    });
  });
}

await main();
