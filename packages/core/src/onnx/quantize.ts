/** Rewrites a model file with smaller weights. Reads and writes piece by piece: no weight stays in memory. */
import { rm, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { TrivecError } from '../errors.ts';
import { ActivationKinds } from './activationKinds.ts';
import { measureActivations, type StatisticsByActivation } from './activationStatistics.ts';
import { BlockwiseInt8 } from './blockwiseInt8.ts';
import { DataFileWriter, toStorageError } from './dataFileWriter.ts';
import { GraphEditor } from './graphEditor.ts';
import { readModelFile, tensorsOf } from './inspect.ts';
import type { ProductRounding, StoreTensor } from './productRounding.ts';
import { decodeModel, encodeModel, type GraphProto, type Model, opsetOf, type TensorProto } from './proto.ts';
import { RowwiseInt8 } from './rowwiseInt8.ts';
import { storeTableAsHalf, storeTableAsInt8 } from './tableRounding.ts';
import { TensorReader } from './tensorReader.ts';
import { findVocabularyLookup, findWeightProducts, type WeightProduct } from './weightProducts.ts';
import { storeWeightsAsHalf } from './weightsAsHalf.ts';

/**
 * `int8`: row-wise, fast, the same vector in any batch. `int8-precise`: blocks of 32, closer and slower, the
 * same to 1e-6. `fp16`: weights in half the bytes, computed in fp32.
 */
export type RewrittenDtype = 'int8' | 'int8-precise' | 'fp16';

/** Raised whenever the same source gives another file. */
export const REWRITER_VERSION = 4;

export interface RewriteReport {
  dtype: string;
  /** Weight products computed in 8 bits, or matrices stored as fp16. */
  matrices: number;
  vocabulary: 'fp32' | 'fp16' | 'int8';
  sourceBytes: number;
  bytes: number;
}

export interface RewriteOptions {
  dtype: RewrittenDtype;
  /** How the vocabulary table is stored; fp16 by default. */
  vocabulary?: 'fp32' | 'fp16' | 'int8';
  /**
   * Some texts as token ids, special tokens included. With them `int8` is smoothed and rounded for such texts, and
   * closer to fp32; they are run once. Ignored by the other forms.
   */
  samples?: readonly (readonly number[])[];
  signal?: AbortSignal;
}

/** What a rounding needs to work on a graph. */
export interface RewriteTools {
  graph: GraphProto;
  editor: GraphEditor;
  opset: number;
  store: StoreTensor;
}

/** Smaller tensors stay in the graph file. */
const MIN_EXTERNAL_BYTES = 1024;
const COPY_CHUNK_BYTES = 32 * 1024 ** 2;

/**
 * Writes `target` (the graph) and `target_data` (its tensors) from the model file `source`. Neither may exist.
 * Throws `invalid_model` for a file that is not readable, has nothing to round, or an operator set without the
 * operators needed; `storage_full` when the disk is.
 */
export async function rewriteModelFile(
  source: string,
  target: string,
  options: RewriteOptions,
): Promise<RewriteReport> {
  if (options.dtype !== 'int8')
    return await rewriteWith(
      source,
      target,
      options,
      ({ editor, store }) => new BlockwiseInt8(editor, store),
    );
  const statistics = await measureOnDraft(source, target, options);
  return await rewriteWith(source, target, options, rowwise(statistics));
}

function rowwise(statistics?: StatisticsByActivation): (tools: RewriteTools) => ProductRounding {
  return ({ graph, editor, opset, store }) =>
    new RowwiseInt8(editor, opset, store, new ActivationKinds(graph), statistics);
}

/** Measured on a first int8 form beside the target: the fp32 model would not fit the memory bound. */
async function measureOnDraft(
  source: string,
  target: string,
  { samples = [], ...options }: RewriteOptions,
): Promise<StatisticsByActivation | undefined> {
  if (samples.length === 0) return undefined;
  const draft = `${target}.draft`;
  try {
    await rewriteWith(source, draft, options, rowwise());
    const { graph } = decodeModel(await readModelFile(source), basename(source));
    return await measureActivations(draft, findWeightProducts(graph), samples, options.signal);
  } finally {
    await rm(draft, { force: true });
    await rm(`${draft}_data`, { force: true });
  }
}

/** As rewriteModelFile, with a rounding of the caller's choice for the weight products. */
export async function rewriteWith(
  source: string,
  target: string,
  options: Omit<RewriteOptions, 'dtype'> & { dtype: string },
  makeRounding: (tools: RewriteTools) => ProductRounding,
): Promise<RewriteReport> {
  const model = decodeModel(await readModelFile(source), basename(source));
  const reader = new TensorReader(dirname(source));
  const writer = await DataFileWriter.create(`${target}_data`, `${basename(target)}_data`);
  try {
    const sourceBytes = sum(tensorsOf(model.graph).map((tensor) => reader.bytesOf(tensor)));
    const editor = new GraphEditor(model);
    const job = new Rewrite(model, editor, reader, writer, options.signal);
    const matrices =
      options.dtype === 'fp16'
        ? await storeWeightsAsHalf(model.graph, editor, reader, writer)
        : await job.roundProducts(
            makeRounding({ graph: model.graph, editor, opset: opsetOf(model), store: job.store }),
          );
    const vocabulary = await job.storeVocabulary(options.vocabulary ?? 'fp16');
    editor.apply();
    await job.copyRest();
    await writer.close();
    const graph = encodeModel(model);
    await writeFile(target, graph, { flag: 'wx', flush: true });
    return { dtype: options.dtype, matrices, vocabulary, sourceBytes, bytes: writer.size + graph.length };
  } catch (error) {
    await writer.abandon();
    await rm(`${target}_data`, { force: true });
    throw toStorageError(error);
  } finally {
    await reader.close();
  }
}

/** Throws `invalid_model` for a model file with nothing to round; reads its graph only. */
export async function checkRoundable(source: string): Promise<void> {
  productsOf(decodeModel(await readModelFile(source), basename(source)).graph);
}

function productsOf(graph: GraphProto): WeightProduct[] {
  const products = findWeightProducts(graph);
  if (products.length > 0) return products;
  throw new TrivecError(
    'invalid_model',
    'The model has nothing to quantise: no product of an activation and an fp32 weight that leads to a layer normalisation. Serve it as it is, without MODEL_DTYPE.',
  );
}

class Rewrite {
  private readonly model: Model;
  private readonly editor: GraphEditor;
  private readonly reader: TensorReader;
  private readonly writer: DataFileWriter;
  private readonly signal: AbortSignal | undefined;

  constructor(
    model: Model,
    editor: GraphEditor,
    reader: TensorReader,
    writer: DataFileWriter,
    signal: AbortSignal | undefined,
  ) {
    this.model = model;
    this.editor = editor;
    this.reader = reader;
    this.writer = writer;
    this.signal = signal;
  }

  readonly store: StoreTensor = async (tensor, data) => {
    if (data.byteLength >= MIN_EXTERNAL_BYTES) await this.writer.write(tensor, [data]);
    else tensor.rawData = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  };

  async roundProducts(rounding: ProductRounding): Promise<number> {
    const opset = opsetOf(this.model);
    const { needs } = rounding;
    if (opset < needs.opset)
      throw new TrivecError(
        'invalid_model',
        `The model has operator set ${opset}, which lacks ${needs.operator}; ${needs.opset} or later is needed.`,
      );
    const products = productsOf(this.model.graph);
    await rounding.prepare?.(products, (product) => this.readWeight(product));
    const stored = new Map<string, ReturnType<ProductRounding['store']>>();
    for (const product of products) {
      this.signal?.throwIfAborted();
      const key = rounding.keyOf?.(product) ?? `${product.weight.name}\n${product.transposed}`;
      if (!stored.has(key)) stored.set(key, rounding.store(product, await this.readWeight(product)));
      rounding.emit(product, await stored.get(key)!);
    }
    return products.length;
  }

  async storeVocabulary(form: 'fp32' | 'fp16' | 'int8'): Promise<RewriteReport['vocabulary']> {
    const lookup = findVocabularyLookup(this.model.graph);
    if (form === 'fp32' || lookup === undefined) return 'fp32';
    const store = form === 'int8' ? storeTableAsInt8 : storeTableAsHalf;
    await store(this.editor, this.reader, this.writer, lookup);
    return form;
  }

  /** What was not rounded moves as it is: the source's data files may go away. */
  async copyRest(): Promise<void> {
    for (const tensor of tensorsOf(this.model.graph)) {
      this.signal?.throwIfAborted();
      if (this.writer.owns(tensor)) continue;
      const bytes = this.reader.bytesOf(tensor);
      if (bytes >= MIN_EXTERNAL_BYTES)
        await this.writer.write(tensor, this.reader.chunks(tensor, COPY_CHUNK_BYTES));
      else if (tensor.dataLocation === 1) inline(tensor, await this.reader.read(tensor));
    }
  }

  private async readWeight({ weight }: WeightProduct): Promise<Float32Array> {
    const values = await this.reader.readFloats(weight);
    if (!values.every(Number.isFinite))
      throw new TrivecError('invalid_model', `Weight ${weight.name} holds values that are not finite.`);
    return values;
  }
}

function inline(tensor: TensorProto, bytes: Uint8Array): void {
  tensor.dataLocation = 0;
  tensor.externalData = [];
  tensor.rawData = bytes;
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
