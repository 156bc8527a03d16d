/** What the activations of weight products look like, measured by running sample texts. */
import { dirname } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { countCores } from '../engine/cpuCount.ts';
import { sessionOptions } from '../engine/sessionOptions.ts';
import { TrivecError } from '../errors.ts';
import { ActivationKinds } from './activationKinds.ts';
import { type ChannelMoments, momentBlock } from './compensatedRounding.ts';
import { readModelFile } from './inspect.ts';
import {
  claimName,
  DataType,
  decodeModel,
  encodeFragment,
  int64Tensor,
  type Model,
  makeNode,
  makeValueInfo,
  type NodeProto,
  opsetOf,
  type TensorProto,
  usedNames,
} from './proto.ts';
import type { WeightProduct } from './weightProducts.ts';

export interface ActivationStatistics {
  /**
   * Largest magnitude of each channel of a normalisation's output; undefined for other activations, and where a text
   * gave numbers that are not finite.
   */
  peaks: Float32Array | undefined;
  moments: ChannelMoments;
}

/** By the name of the activation. */
export type StatisticsByActivation = ReadonlyMap<string, ActivationStatistics>;

/**
 * Runs the model in the file `runnable` (the source, or an int8 form of it that kept its names) on texts given as
 * token ids, special tokens included, and measures the activations of `products`. Blocks the thread while it runs.
 * Throws `invalid_model` for a model that does not run, and the signal's reason when aborted.
 */
export async function measureActivations(
  runnable: string,
  products: readonly Pick<WeightProduct, 'activation' | 'inDims'>[],
  texts: readonly (readonly number[])[],
  signal?: AbortSignal,
): Promise<StatisticsByActivation> {
  const measured = new Map(products.map(({ activation, inDims }) => [activation, inDims]));
  if (measured.size === 0 || texts.length === 0) return new Map();
  const bytes = await readModelFile(runnable);
  const { fragment, outputs } = new Probes(decodeModel(bytes)).on(measured);
  const withProbes = new Uint8Array(bytes.length + fragment.length);
  withProbes.set(bytes);
  withProbes.set(fragment, bytes.length);
  const session = await orInvalid(
    InferenceSession.create(
      withProbes,
      sessionOptions({
        provider: { device: 'cpu', name: 'cpu' },
        // onnxruntime would count the machine's cores, whatever a container may use of them.
        intraOpThreads: countCores(),
        spinWhenIdle: false,
        dataFolder: dirname(runnable),
      }),
    ),
  );
  try {
    const found = new Map<string, ActivationStatistics>();
    // Every text's results go into the same tensors: left to the collector, those of all texts would pile up.
    const results: Record<string, Tensor> = {};
    for (const [name, { peaks, moments }] of outputs) {
      const own = emptyStatistics(measured.get(name)!, peaks !== undefined);
      const { block, values } = own.moments;
      const blocks = values.length / block ** 2;
      found.set(name, own);
      results[moments] = zeros([blocks, block, block]);
      if (peaks !== undefined) results[peaks] = zeros([blocks, block]);
    }
    const valuesOf = (output: string) => results[output]!.data as Float32Array;
    for (const ids of texts) {
      signal?.throwIfAborted();
      await orInvalid(session.run(feedsFor(session.inputMetadata, ids), results));
      for (const [name, { peaks, moments }] of outputs) {
        const own = found.get(name)!;
        if (own.peaks !== undefined && peaks !== undefined) raise(own.peaks, valuesOf(peaks));
        add(own.moments.values, valuesOf(moments));
      }
    }
    for (const own of found.values()) if (own.peaks?.every(Number.isFinite) === false) own.peaks = undefined;
    return found;
  } finally {
    await session.release();
  }
}

async function orInvalid<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TrivecError('invalid_model', `The model cannot be run on sample texts: ${reason}`, { cause });
  }
}

function zeros(dims: readonly number[]): Tensor {
  return new Tensor('float32', new Float32Array(dims.reduce((a, b) => a * b, 1)), dims);
}

function emptyStatistics(channels: number, hasPeaks: boolean): ActivationStatistics {
  const block = momentBlock(channels);
  return {
    peaks: hasPeaks ? new Float32Array(channels) : undefined,
    moments: { block, values: new Float32Array(channels * block) },
  };
}

function raise(peaks: Float32Array, found: Float32Array): void {
  for (let i = 0; i < peaks.length; i++) peaks[i] = Math.max(peaks[i]!, found[i]!);
}

function add(sums: Float32Array, found: Float32Array): void {
  for (let i = 0; i < sums.length; i++) sums[i] = sums[i]! + found[i]!;
}

/** Names of the outputs that tell of one activation. */
interface Probe {
  peaks: string | undefined;
  moments: string;
}

/** Nodes that reduce activations [..., channels] to their statistics, to be appended to the model's bytes. */
class Probes {
  private readonly names: Set<string>;
  private readonly kinds: ActivationKinds;
  private readonly hasAxesInput: boolean;
  private readonly node: NodeProto[] = [];
  private readonly initializer: TensorProto[] = [];

  constructor(model: Model) {
    this.names = usedNames(model.graph);
    this.kinds = new ActivationKinds(model.graph);
    this.hasAxesInput = opsetOf(model) >= 18;
  }

  on(activations: ReadonlyMap<string, number>): { fragment: Uint8Array; outputs: Map<string, Probe> } {
    const outputs = new Map(
      [...activations].map(([name, channels]) => {
        const tokens = this.inBlocks(name, channels);
        const peaks = this.kinds.isNormalized(name) ? this.peaksOf(tokens) : undefined;
        return [name, { peaks, moments: this.momentsOf(tokens) }];
      }),
    );
    const output = [...outputs.values()].flatMap(({ peaks, moments }) => [
      makeValueInfo(moments, DataType.FLOAT, [`${moments}_blocks`, `${moments}_rows`, `${moments}_columns`]),
      ...(peaks === undefined
        ? []
        : [makeValueInfo(peaks, DataType.FLOAT, [`${peaks}_blocks`, `${peaks}_channels`])]),
    ]);
    const { node, initializer } = this;
    return { fragment: encodeFragment({ node, initializer, output }), outputs };
  }

  /** [tokens, blocks, channels of a block], whatever the activation's rank. */
  private inBlocks(activation: string, channels: number): string {
    const block = momentBlock(channels);
    const shape = this.constant('shape', [-1, channels / block, block]);
    return this.op('Reshape', [activation, shape], 'in_blocks');
  }

  private peaksOf(tokens: string): string {
    const magnitudes = this.op('Abs', [tokens], 'magnitudes');
    return this.hasAxesInput
      ? this.op('ReduceMax', [magnitudes, this.constant('axes', [0])], 'peaks', { keepdims: 0n })
      : this.op('ReduceMax', [magnitudes], 'peaks', { axes: [0n], keepdims: 0n });
  }

  private momentsOf(tokens: string): string {
    const rows = this.op('Transpose', [tokens], 'rows', { perm: [1n, 2n, 0n] });
    const columns = this.op('Transpose', [tokens], 'columns', { perm: [1n, 0n, 2n] });
    return this.op('MatMul', [rows, columns], 'moments');
  }

  private op(
    opType: string,
    inputs: string[],
    label: string,
    attributes?: Parameters<typeof makeNode>[3],
  ): string {
    const output = claimName(this.names, `trivec_probe_${label}`);
    this.node.push(makeNode(opType, inputs, [output], attributes));
    return output;
  }

  private constant(label: string, values: readonly number[]): string {
    const name = claimName(this.names, `trivec_probe_${label}`);
    this.initializer.push(int64Tensor(name, [values.length], values.map(BigInt)));
    return name;
  }
}

/** By the name of the input. */
const TOKEN_VALUES: Readonly<Record<string, (id: number, at: number) => number>> = {
  input_ids: (id) => id,
  attention_mask: () => 1,
  token_type_ids: () => 0,
  position_ids: (_, at) => at,
};

function feedsFor(
  inputs: readonly InferenceSession.ValueMetadata[],
  ids: readonly number[],
): Record<string, Tensor> {
  return Object.fromEntries(inputs.map((input) => [input.name, feedOf(input, ids)]));
}

function feedOf(input: InferenceSession.ValueMetadata, ids: readonly number[]): Tensor {
  const tokenValue = TOKEN_VALUES[input.name];
  if (tokenValue === undefined) return emptyPast(input);
  const [values, dims] = [ids.map(tokenValue), [1, ids.length]];
  return input.isTensor && input.type === 'int32'
    ? new Tensor('int32', Int32Array.from(values), dims)
    : new Tensor('int64', BigInt64Array.from(values, BigInt), dims);
}

/** Of a decoder: [texts, heads, tokens, size], no tokens. */
function emptyPast(input: InferenceSession.ValueMetadata): Tensor {
  const shape = input.isTensor ? input.shape : [];
  const dims = shape.map((size, axis) => (axis === 0 ? 1 : typeof size === 'number' ? size : 0));
  return input.isTensor && input.type === 'float16'
    ? new Tensor('float16', new Uint16Array(0), dims)
    : new Tensor('float32', new Float32Array(0), dims);
}
