/** From the tensors of one forward pass to the finished vectors of its texts. Pure; runs in the inference thread. */
import type { HeadPlan, PaddingSide } from '../vectors/headPlan.ts';
import { finishDense, finishSparse, normalizeRows, pool } from '../vectors/heads.ts';
import type { TextVectors } from '../vectors/types.ts';
import { DeviceError, type Wants } from './device.ts';

/** A batch on its way to the thread: ids of all texts one after the other. */
export interface PackedBatch {
  ids: Int32Array;
  /** Tokens of each text. */
  lengths: Int32Array;
  wants: readonly Wants[];
  /** Where the second text of a pair begins, 0 for a text that stands alone. */
  secondFrom?: readonly number[] | undefined;
}

/** Vectors on their way back: one buffer a kind, texts one after the other, without those not wanted. */
export interface PackedVectors {
  /** 1 a text whose numbers are all finite. */
  finite: Uint8Array;
  dense: Float32Array;
  /** Size of the model's own dense vector. */
  denseDims: number;
  /** Pairs of each text. */
  sparseCounts: Uint32Array;
  sparseIndices: Uint32Array;
  sparseValues: Float32Array;
  colbert: Float32Array;
  colbertDims: number;
}

export interface RawTensor {
  data: Float32Array;
  dims: readonly number[];
}

export interface Layout {
  heads: HeadPlan;
  paddingSide: PaddingSide;
}

/** `length` is the padded length. Throws `DeviceError` for a tensor of another shape than its head has. */
export function finishBatch(
  tensors: ReadonlyMap<string, RawTensor>,
  { ids, lengths, wants }: PackedBatch,
  length: number,
  { heads, paddingSide }: Layout,
): PackedVectors {
  const count = lengths.length;
  const starts = Array.from(lengths, (tokens) => (paddingSide === 'left' ? length - tokens : 0));
  const finite = new Uint8Array(count).fill(1);
  const note = (text: number, isSound: boolean): void => {
    if (!isSound) finite[text] = 0;
  };
  const tensorOf = (output: string | undefined): RawTensor | undefined =>
    output === undefined ? undefined : tensors.get(output);

  const dense = tensorOf(heads.dense?.output);
  let denseOut = new Float32Array(0);
  let denseDims = 0;
  if (dense !== undefined) {
    const { pooling } = heads.dense!;
    const isScalar = pooling === undefined && dense.dims.length === 1;
    denseDims = isScalar
      ? expectShape(dense, [count]) / count
      : expectShape(dense, pooling === undefined ? [count, 0] : [count, length, 0]);
    denseOut = new Float32Array(wants.reduce((sum, want) => sum + denseSize(want, denseDims), 0));
    for (let b = 0, at = 0; b < count; b++) {
      const size = denseSize(wants[b]!, denseDims);
      if (size === 0) continue;
      const from = pooling === undefined ? b * denseDims : (b * length + starts[b]!) * denseDims;
      const source =
        pooling === undefined
          ? dense.data.subarray(from, from + denseDims)
          : pool(dense.data.subarray(from, from + lengths[b]! * denseDims), denseDims, pooling);
      note(b, finishDense(source, denseOut.subarray(at, at + size), wants[b]!.normalize));
      at += size;
    }
  }

  const sparse = tensorOf(heads.sparse?.output);
  const sparseCounts = new Uint32Array(count);
  const pairs = [];
  if (sparse !== undefined) {
    expectShape(sparse, sparse.dims.length === 3 ? [count, length, 1] : [count, length]);
    const ignored = new Set(heads.ignoredSparseIds);
    for (let b = 0, at = 0; b < count; at += lengths[b]!, b++) {
      if (!wants[b]!.sparse) continue;
      const from = b * length + starts[b]!;
      const weights = sparse.data.subarray(from, from + lengths[b]!);
      note(b, weights.every(Number.isFinite));
      const vector = finishSparse(ids.subarray(at, at + lengths[b]!), weights, ignored);
      sparseCounts[b] = vector.indices.length;
      pairs.push(vector);
    }
  }

  const colbert = tensorOf(heads.colbert?.output);
  let colbertOut = new Float32Array(0);
  let colbertDims = 0;
  if (colbert !== undefined) {
    // The first position is CLS, which has no row; some exports have left it out already.
    const rows = colbert.dims[1] === length ? length : length - 1;
    colbertDims = expectShape(colbert, [count, rows, 0]);
    const first = rows - length + 1;
    const wantedRows = wants.reduce((sum, want, b) => sum + (want.colbert ? lengths[b]! - 1 : 0), 0);
    colbertOut = new Float32Array(wantedRows * colbertDims);
    for (let b = 0, at = 0; b < count; b++) {
      if (!wants[b]!.colbert) continue;
      const size = (lengths[b]! - 1) * colbertDims;
      const from = (b * rows + starts[b]! + first) * colbertDims;
      const source = colbert.data.subarray(from, from + size);
      note(b, normalizeRows(source, colbertOut.subarray(at, at + size), colbertDims));
      at += size;
    }
  }

  return {
    finite,
    dense: denseOut,
    denseDims,
    sparseCounts,
    sparseIndices: concatenate(
      Uint32Array,
      pairs.map(({ indices }) => indices),
    ),
    sparseValues: concatenate(
      Float32Array,
      pairs.map(({ values }) => values),
    ),
    colbert: colbertOut,
    colbertDims,
  };
}

function denseSize(want: Wants, dims: number): number {
  return want.dense ? want.dimensions || dims : 0;
}

/** The last dimension. 0 in `expected` stands for any size. */
function expectShape({ dims }: RawTensor, expected: readonly number[]): number {
  const fits = dims.length === expected.length && expected.every((size, i) => size === 0 || size === dims[i]);
  if (!fits)
    throw new DeviceError(
      'failed',
      `The model gave a tensor [${dims}] where [${expected.map((size) => size || 'any')}] is expected.`,
    );
  return dims.at(-1)!;
}

function concatenate<T extends Uint32Array | Float32Array>(
  Kind: new (length: number) => T,
  parts: readonly T[],
): T {
  const all = new Kind(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export function packBatch(
  texts: readonly Int32Array[],
  wants: readonly Wants[],
  secondFrom?: readonly number[],
): PackedBatch {
  const lengths = Int32Array.from(texts, (ids) => ids.length);
  const ids = new Int32Array(lengths.reduce((sum, tokens) => sum + tokens, 0));
  let at = 0;
  for (const text of texts) {
    ids.set(text, at);
    at += text.length;
  }
  return { ids, lengths, wants, secondFrom };
}

/** Views into the buffers that came back, one a text; undefined for one that is not finite. */
export function unpackVectors(
  { lengths, wants }: Pick<PackedBatch, 'lengths' | 'wants'>,
  packed: PackedVectors,
  has: Pick<HeadPlan, 'dense' | 'sparse' | 'colbert'>,
): (TextVectors | undefined)[] {
  const at = { dense: 0, sparse: 0, colbert: 0 };
  const next = (kind: keyof typeof at, size: number): [from: number, to: number] => {
    const from = at[kind];
    at[kind] = from + size;
    return [from, from + size];
  };
  return wants.map((want, b) => {
    const tokens = lengths[b]!;
    const vectors: TextVectors = { tokens };
    if (want.dense && has.dense)
      vectors.dense = packed.dense.subarray(...next('dense', denseSize(want, packed.denseDims)));
    if (want.sparse && has.sparse) {
      const range = next('sparse', packed.sparseCounts[b]!);
      vectors.sparse = {
        indices: packed.sparseIndices.subarray(...range),
        values: packed.sparseValues.subarray(...range),
      };
    }
    if (want.colbert && has.colbert) {
      const [rows, dims] = [tokens - 1, packed.colbertDims];
      vectors.colbert = { rows, dims, data: packed.colbert.subarray(...next('colbert', rows * dims)) };
    }
    return packed.finite[b] === 1 ? vectors : undefined;
  });
}
