/** How large each channel of a normalised activation gets, measured by running sample texts. */
import { dirname } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { ActivationKinds } from './activationKinds.ts';
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
  opsetOf,
  usedNames,
} from './proto.ts';

/** Largest magnitude of each channel, by the name of the activation. */
export type ChannelPeaks = ReadonlyMap<string, Float32Array>;

/**
 * Runs the model in the file `runnable` (the source, or an int8 form of it that kept its names) on texts given as
 * token ids, special tokens included, and measures those of `activations` that are a normalisation's output.
 * Blocks the thread while it runs.
 */
export async function measureChannelPeaks(
  runnable: string,
  activations: readonly string[],
  texts: readonly (readonly number[])[],
): Promise<ChannelPeaks> {
  const bytes = await readModelFile(runnable);
  const model = decodeModel(bytes);
  const kinds = new ActivationKinds(model.graph);
  const measured = [...new Set(activations)].filter((name) => kinds.isNormalized(name));
  if (measured.length === 0 || texts.length === 0) return new Map();
  const { fragment, outputs } = peakOutputs(model, measured);
  const withPeaks = new Uint8Array(bytes.length + fragment.length);
  withPeaks.set(bytes);
  withPeaks.set(fragment, bytes.length);
  const session = await InferenceSession.create(withPeaks, {
    extra: { session: { model_external_initializers_file_folder_path: dirname(runnable) } },
  });
  try {
    const peaks = new Map<string, Float32Array>();
    for (const ids of texts) {
      const result = await session.run(feedsFor(session.inputNames, ids), [...outputs.values()]);
      for (const [name, output] of outputs) {
        const found = result[output]!.data as Float32Array;
        const known = peaks.get(name);
        peaks.set(
          name,
          known === undefined ? found.slice() : known.map((peak, i) => Math.max(peak, found[i]!)),
        );
      }
    }
    return peaks;
  } finally {
    await session.release();
  }
}

/** Nodes that reduce each activation [1, L, dims] to the peaks of its channels, appended to the model's bytes. */
function peakOutputs(
  model: Model,
  activations: string[],
): { fragment: Uint8Array; outputs: Map<string, string> } {
  const names = usedNames(model.graph);
  const axes = int64Tensor(claimName(names, 'trivec_peak_axes'), [2], [0n, 1n]);
  const hasAxesInput = opsetOf(model) >= 18;
  const outputs = new Map(activations.map((name, i) => [name, claimName(names, `trivec_peak_${i}`)]));
  const node = [...outputs].flatMap(([name, output]) => {
    const magnitudes = claimName(names, `${output}_magnitudes`);
    return [
      makeNode('Abs', [name], [magnitudes]),
      hasAxesInput
        ? makeNode('ReduceMax', [magnitudes, axes.name], [output], { keepdims: 0n })
        : makeNode('ReduceMax', [magnitudes], [output], { axes: [0n, 1n], keepdims: 0n }),
    ];
  });
  const output = [...outputs.values()].map((name) =>
    makeValueInfo(name, DataType.FLOAT, [`${name}_channels`]),
  );
  return { fragment: encodeFragment({ node, initializer: hasAxesInput ? [axes] : [], output }), outputs };
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
