/** The tensors a graph is fed for one batch. Pure. */
import type { GraphInput, InputRole } from '../models/graphContract.ts';
import type { PaddingSide } from '../vectors/headPlan.ts';
import type { PackedBatch } from './finishBatch.ts';

export interface Feed {
  name: string;
  dtype: GraphInput['dtype'];
  dims: readonly number[];
  /** Row-major. */
  data: BigInt64Array | Int32Array | Float32Array | Uint16Array;
}

export interface FeedPlan {
  inputs: readonly GraphInput[];
  padId: number;
  paddingSide: PaddingSide;
}

/** `length` is the longest text's. */
export function buildFeeds(
  batch: Pick<PackedBatch, 'ids' | 'lengths' | 'secondFrom'>,
  length: number,
  plan: FeedPlan,
): Feed[] {
  const texts = batch.lengths.length;
  return plan.inputs.map(({ name, role, dtype, past }) => {
    // A past of no tokens has no numbers, whatever its other sizes.
    if (role === 'past') {
      const data = dtype === 'float16' ? new Uint16Array(0) : new Float32Array(0);
      return { name, dtype, dims: [texts, past?.heads ?? 0, 0, past?.size ?? 0], data };
    }
    const values = fill(role, batch, length, plan);
    return { name, dtype, dims: [texts, length], data: dtype === 'int64' ? widen(values) : values };
  });
}

function fill(
  role: InputRole,
  { ids, lengths, secondFrom }: Pick<PackedBatch, 'ids' | 'lengths' | 'secondFrom'>,
  length: number,
  { padId, paddingSide }: FeedPlan,
): Int32Array {
  const values = new Int32Array(lengths.length * length);
  if (role === 'ids') values.fill(padId);
  let from = 0;
  for (let b = 0; b < lengths.length; b++) {
    const tokens = lengths[b]!;
    const at = b * length + (paddingSide === 'left' ? length - tokens : 0);
    if (role === 'ids') values.set(ids.subarray(from, from + tokens), at);
    else if (role === 'mask') values.fill(1, at, at + tokens);
    else if (role === 'types') values.fill(1, at + (secondFrom?.[b] || tokens), at + tokens);
    else for (let i = 0; i < tokens; i++) values[at + i] = i;
    from += tokens;
  }
  return values;
}

/** None of the numbers is negative, so the low halves are enough (every platform of Node is little-endian but s390x). */
function widen(values: Int32Array): BigInt64Array {
  const wide = new BigInt64Array(values.length);
  const halves = new Int32Array(wide.buffer);
  for (let i = 0; i < values.length; i++) halves[2 * i] = values[i]!;
  return wide;
}
