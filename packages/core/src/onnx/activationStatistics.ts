/** What the activations of weight products look like, measured by running sample texts. */
import { dirname } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
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
  /** Largest magnitude of each channel of a normalisation's output; undefined for other activations. */
  peaks: Float32Array | undefined;
  moments: ChannelMoments;
}

/** By the name of the activation. */
export type StatisticsByActivation = ReadonlyMap<string, ActivationStatistics>;

/**
 * Runs the model in the file `runnable` (the source, or an int8 form of it that kept its names) on texts given as
 * token ids, special tokens included, and measures the activations of `products`. Blocks the thread while it runs.
 */
export async function measureActivations(
  runnable: string,
  products: readonly Pick<WeightProduct, 'activation' | 'inDims'>[],
  texts: readonly (readonly number[])[],
): Promise<StatisticsByActivation> {
  const measured = new Map(products.map(({ activation, inDims }) => [activation, inDims]));
  if (measured.size === 0 || texts.length === 0) return new Map();
  const bytes = await readModelFile(runnable);
  const { fragment, outputs } = new Probes(decodeModel(bytes)).on(measured);
  const withProbes = new Uint8Array(bytes.length + fragment.length);
  withProbes.set(bytes);
  withProbes.set(fragment, bytes.length);
  const session = await InferenceSession.create(withProbes, {
    enableCpuMemArena: false,
    extra: { session: { model_external_initializers_file_folder_path: dirname(runnable) } },
  });
  try {
    const found = new Map<string, ActivationStatistics>();
    // Every text's results go into the same tensors: left to the collector, those of all texts would pile up.
    const results: Record<string, Tensor> = {};
    for (const [name, { peaks, moments }] of outputs) {
      const own = emptyStatistics(measured.get(name)!, peaks !== undefined);
      const { block, values } = own.moments;
      found.set(name, own);
      results[moments] = zeros([values.length / block ** 2, block, block]);
      if (peaks !== undefined) results[peaks] = zeros([values.length / block]);
    }
    const valuesOf = (output: string) => results[output]!.data as Float32Array;
    for (const ids of texts) {
      await session.run(feedsFor(session.inputNames, ids), results);
      for (const [name, { peaks, moments }] of outputs) {
        const own = found.get(name)!;
        if (own.peaks !== undefined && peaks !== undefined) raise(own.peaks, valuesOf(peaks));
        add(own.moments.values, valuesOf(moments));
      }
    }
    return found;
  } finally {
    await session.release();
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

/** Nodes that reduce activations [1, L, channels] to their statistics, to be appended to the model's bytes. */
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
      [...activations].map(([name, channels]) => [
        name,
        {
          peaks: this.kinds.isNormalized(name) ? this.peaksOf(name) : undefined,
          moments: this.momentsOf(name, channels),
        },
      ]),
    );
    const output = [...outputs.values()].flatMap(({ peaks, moments }) => [
      makeValueInfo(moments, DataType.FLOAT, [`${moments}_blocks`, `${moments}_rows`, `${moments}_columns`]),
      ...(peaks === undefined ? [] : [makeValueInfo(peaks, DataType.FLOAT, [`${peaks}_channels`])]),
    ]);
    const { node, initializer } = this;
    return { fragment: encodeFragment({ node, initializer, output }), outputs };
  }

  private peaksOf(activation: string): string {
    const magnitudes = this.op('Abs', [activation], 'magnitudes');
    return this.hasAxesInput
      ? this.op('ReduceMax', [magnitudes, this.constant('axes', [0, 1])], 'peaks', { keepdims: 0n })
      : this.op('ReduceMax', [magnitudes], 'peaks', { axes: [0n, 1n], keepdims: 0n });
  }

  private momentsOf(activation: string, channels: number): string {
    const block = momentBlock(channels);
    const shape = this.constant('shape', [-1, channels / block, block]);
    const tokens = this.op('Reshape', [activation, shape], 'in_blocks');
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

function feedsFor(inputNames: readonly string[], ids: readonly number[]): Record<string, Tensor> {
  const feeds: Record<string, (id: number, at: number) => number> = {
    input_ids: (id) => id,
    attention_mask: () => 1,
    token_type_ids: () => 0,
    position_ids: (_, at) => at,
  };
  return Object.fromEntries(
    inputNames.map((name) => [
      name,
      new Tensor('int64', BigInt64Array.from(ids.map(feeds[name] ?? (() => 0)), BigInt), [1, ids.length]),
    ]),
  );
}
