import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import test, { type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sessionOptions } from '@trivec/core/engine/sessionOptions';
import { addHeads } from '@trivec/core/onnx/addHeads';
import { Constants } from '@trivec/core/onnx/graphValues';
import { inspectModelFile } from '@trivec/core/onnx/inspect';
import { readM3Heads } from '@trivec/core/onnx/m3Heads';
import { decodeModel, encodeModel, type GraphProto, type TensorProto } from '@trivec/core/onnx/proto';
import { type RewriteOptions, rewriteModelFile } from '@trivec/core/onnx/quantize';
import { findWeightProducts } from '@trivec/core/onnx/weightProducts';
import fc from 'fast-check';
import { InferenceSession, Tensor } from 'onnxruntime-node';

const GOLDEN = fileURLToPath(new URL('onnx/', import.meta.url));
const HIDDEN = 32;
const SAMPLES = [
  [0, 5, 9, 31, 60, 2],
  [0, 44, 45, 46, 2],
];
const { cases } = JSON.parse(readFileSync(`${GOLDEN}expected.json`, 'utf8')) as {
  cases: { shape: number[]; input_ids: number[]; attention_mask: number[]; token_embeddings: number[] }[];
};

async function rewritten(t: TestContext, source: string, options: RewriteOptions): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'rewrite-'));
  t.after(() => rm(folder, { recursive: true }));
  const target = join(folder, 'model.onnx');
  await rewriteModelFile(resolve(GOLDEN, source), target, options);
  return target;
}

/** Token embeddings of each text, run together and padded to the longest. */
async function embed(session: InferenceSession, texts: readonly number[][]): Promise<Float32Array[]> {
  const length = Math.max(...texts.map((text) => text.length));
  const padded = (fill: (text: number[], at: number) => number) =>
    new Tensor(
      'int64',
      BigInt64Array.from(
        texts.flatMap((text) => Array.from({ length }, (_, at) => fill(text, at))),
        BigInt,
      ),
      [texts.length, length],
    );
  const { token_embeddings } = await session.run(
    {
      input_ids: padded((text, at) => text[at] ?? 1),
      attention_mask: padded((text, at) => (at < text.length ? 1 : 0)),
    },
    ['token_embeddings'],
  );
  const data = token_embeddings!.data as Float32Array;
  return texts.map((text, row) => data.slice(row * length * HIDDEN, (row * length + text.length) * HIDDEN));
}

function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [product, left, right] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    product += a[i]! * b[i]!;
    left += a[i]! ** 2;
    right += b[i]! ** 2;
  }
  return product / Math.sqrt(left * right);
}

for (const { source, dtype, vocabulary, atLeast } of [
  { source: 'backbone11.onnx', dtype: 'int8', vocabulary: 'fp16', atLeast: 0.999 },
  { source: 'backbone17.onnx', dtype: 'int8', vocabulary: 'int8', atLeast: 0.999 },
  { source: 'backbone18.onnx', dtype: 'int8', vocabulary: 'fp32', atLeast: 0.999 },
  { source: 'external/model.onnx', dtype: 'int8', vocabulary: 'fp16', atLeast: 0.999 },
  { source: 'backbone17.onnx', dtype: 'int8-precise', vocabulary: 'fp16', atLeast: 0.999 },
  { source: 'backbone11.onnx', dtype: 'fp16', vocabulary: 'fp16', atLeast: 0.9999995 },
  { source: 'external/model.onnx', dtype: 'fp16', vocabulary: 'fp16', atLeast: 0.9999995 },
] as const)
  test(`${source} as ${dtype} with an ${vocabulary} vocabulary stays close to torch`, async (t) => {
    const path = await rewritten(t, source, { dtype, vocabulary });
    const session = await InferenceSession.create(path);
    t.after(() => session.release());
    for (const { shape, input_ids, attention_mask, token_embeddings } of cases.slice(1)) {
      const { token_embeddings: actual } = await session.run({
        input_ids: new Tensor('int64', BigInt64Array.from(input_ids, BigInt), shape),
        attention_mask: new Tensor('int64', BigInt64Array.from(attention_mask, BigInt), shape),
      });
      const found = cosine(actual!.data as Float32Array, token_embeddings);
      assert.ok(found >= atLeast, `cosine ${found}`);
    }
  });

for (const [kind, samples] of [
  ['plain', []],
  ['with outlying rows', []],
  ['with outlying rows, fitted to samples', SAMPLES],
] as const)
  test(`an int8 text has bitwise the same vector alone, padded, and among any neighbours (${kind})`, async (t) => {
    const source = kind === 'plain' ? 'backbone17.onnx' : await outlyingBackbone(t);
    const session = await InferenceSession.create(
      await rewritten(t, source, { dtype: 'int8', samples }),
      sessionOptions({
        provider: { device: 'cpu', name: 'cpu' },
        intraOpThreads: 2,
        spinWhenIdle: false,
      }),
    );
    t.after(() => session.release());
    const text = fc.array(fc.integer({ min: 4, max: 63 }), { maxLength: 30 }).map((ids) => [0, ...ids, 2]);
    await fc.assert(
      fc.asyncProperty(fc.array(text, { minLength: 2, maxLength: 6 }), async (texts) => {
        const together = await embed(session, texts);
        for (const [i, ids] of texts.entries()) assert.deepEqual(await embed(session, [ids]), [together[i]]);
        assert.deepEqual((await embed(session, texts.toReversed())).toReversed(), together);
      }),
      { numRuns: 30 },
    );
  });

test('a few huge rows of a weight cost no accuracy', async (t) => {
  const source = await outlyingBackbone(t);
  const target = await rewritten(t, source, { dtype: 'int8' });
  const { operators } = await inspectModelFile(target);
  assert.equal(
    operators.MatMul,
    6,
    'two for the attention of each layer, and one for the rows that were taken out',
  );
  const [plain, rounded] = [await InferenceSession.create(source), await InferenceSession.create(target)];
  t.after(() => Promise.all([plain.release(), rounded.release()]));
  const texts = cases.slice(1, 5).map(({ input_ids }) => input_ids);
  const [wanted, found] = [await embed(plain, texts), await embed(rounded, texts)];
  for (const [i, vector] of wanted.entries()) assert.ok(cosine(vector, found[i]!) > 0.9995, `text ${i}`);
});

/** Two rows of each weight behind a GELU are made 40 times as large, as trained models have them. */
async function outlyingBackbone(t: TestContext): Promise<string> {
  return await editedBackbone(t, (graph, scale) => {
    for (const { weight, inDims, outDims } of findWeightProducts(graph))
      if (inDims > outDims) scale(weight.name, (at) => ([3, 40].includes(Math.floor(at / outDims)) ? 10 : 1));
  });
}

test('sample texts bring int8 closer to torch when some channels are huge', async (t) => {
  // Every eighth channel of each normalisation is made 30 times as large, and its weights 30 times as small.
  const source = await outlierBackbone(t);
  const errorOf = async (options: Partial<RewriteOptions>) => {
    const folder = await mkdtemp(join(tmpdir(), 'rewrite-'));
    t.after(() => rm(folder, { recursive: true }));
    const target = join(folder, 'model.onnx');
    await rewriteModelFile(source, target, { dtype: 'int8', ...options });
    assert.deepEqual((await readdir(folder)).sort(), ['model.onnx', 'model.onnx_data']);
    const [plain, rounded] = [await InferenceSession.create(source), await InferenceSession.create(target)];
    t.after(() => Promise.all([plain.release(), rounded.release()]));
    const texts = cases.slice(1, 5).map(({ input_ids }) => input_ids);
    const [wanted, found] = [await embed(plain, texts), await embed(rounded, texts)];
    return 1 - Math.min(...wanted.map((vector, i) => cosine(vector, found[i]!)));
  };
  const [without, with_] = [await errorOf({}), await errorOf({ samples: SAMPLES })];
  assert.ok(with_ < without / 2, `${with_} with samples, ${without} without`);
});

async function outlierBackbone(t: TestContext): Promise<string> {
  return await editedBackbone(t, (graph, scale) => {
    const isHuge = (channel: number) => channel % 8 === 0;
    const norms = graph.node.filter(({ opType }) => opType === 'LayerNormalization');
    for (const { input } of norms)
      for (const name of input.slice(1)) scale(name, (at) => (isHuge(at) ? 30 : 1));
    const normalized = new Set(norms.map(({ output }) => output[0]));
    for (const { activation, weight, outDims } of findWeightProducts(graph))
      if (normalized.has(activation))
        scale(weight.name, (at) => (isHuge(Math.floor(at / outDims)) ? 1 / 30 : 1));
  });
}

type Scale = (name: string, factor: (at: number) => number) => void;

/** A copy of backbone17 whose weights `edit` has scaled, each at most once. */
async function editedBackbone(
  t: TestContext,
  edit: (graph: GraphProto, scale: Scale) => void,
): Promise<string> {
  const model = decodeModel(readFileSync(`${GOLDEN}backbone17.onnx`));
  const constants = new Constants(model.graph);
  const scaled = new Set<TensorProto>();
  edit(model.graph, (name, factor) => {
    const { tensor } = constants.resolve(name)!;
    if (scaled.has(tensor)) return;
    scaled.add(tensor);
    const values = new Float32Array(new Uint8Array(tensor.rawData).buffer);
    tensor.rawData = new Uint8Array(values.map((value, at) => value * factor(at)).buffer);
  });
  const folder = await mkdtemp(join(tmpdir(), 'outliers-'));
  t.after(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'model.onnx'), encodeModel(model));
  return join(folder, 'model.onnx');
}

test('what is rounded and what is not', async (t) => {
  const { operators, vocabulary, externalFiles } = await inspectModelFile(
    await rewritten(t, 'external/model.onnx', { dtype: 'int8' }),
  );
  assert.equal(operators['com.microsoft.MatMulIntegerToFloat'], 14, 'twelve, and two more for the values');
  assert.equal(operators.QuantizeLinear, 10, 'one rounding for q, k and v, and the remainder for the values');
  assert.equal(operators.ReduceMin, 6, 'none after a GELU');
  assert.equal(operators.MatMul, 4, 'the attention products stay');
  assert.equal(operators.Softmax, 2);
  assert.deepEqual(vocabulary, { rows: 64, dims: 32 });
  assert.deepEqual(
    externalFiles.map(({ location }) => location),
    ['model.onnx_data'],
  );
});

test("with samples no remainder is multiplied, but a few channels of the attention's input in fp32", async (t) => {
  const { operators } = await inspectModelFile(
    await rewritten(t, 'backbone17.onnx', { dtype: 'int8', samples: SAMPLES }),
  );
  assert.equal(operators['com.microsoft.MatMulIntegerToFloat'], 12);
  assert.equal(operators.Round, undefined);
  assert.equal(
    operators.MatMul,
    10,
    "the attention products, and three for each layer's query, key and value",
  );
});

test('heads are added to an int8 backbone, and compute in fp32', async (t) => {
  const heads = await readM3Heads(GOLDEN);
  const path = await rewritten(t, 'backbone11.onnx', { dtype: 'int8' });
  const { bytes } = addHeads(readFileSync(path), heads);
  const session = await InferenceSession.create(bytes, {
    extra: { session: { model_external_initializers_file_folder_path: join(path, '..') } },
  });
  t.after(() => session.release());
  const ids = BigInt64Array.of(0n, 9n, 17n, 2n);
  const result = await session.run({
    input_ids: new Tensor('int64', ids, [1, 4]),
    attention_mask: new Tensor('int64', BigInt64Array.of(1n, 1n, 1n, 1n), [1, 4]),
  });
  const hidden = result.token_embeddings!.data as Float32Array;
  const { weight, bias } = heads.sparse;
  for (const [token, actual] of [...(result.sparse_vecs!.data as Float32Array)].entries()) {
    const row = hidden.subarray(token * HIDDEN, (token + 1) * HIDDEN);
    const wanted = Math.max(
      0,
      row.reduce((sum, value, i) => sum + value * weight[i]!, bias[0]!),
    );
    assert.ok(Math.abs(actual - wanted) <= 1e-5);
  }
});
