import assert from 'node:assert/strict';
import test from 'node:test';
import { cgroupCores, countCores, physicalCores } from '@trivec/core/engine/cpuCount';
import type { Wants } from '@trivec/core/engine/device';
import { buildFeeds, type FeedPlan } from '@trivec/core/engine/feeds';
import { finishBatch, packBatch, type RawTensor, unpackVectors } from '@trivec/core/engine/finishBatch';
import { providersFor } from '@trivec/core/engine/providers';
import type { HeadPlan } from '@trivec/core/vectors/headPlan';
import { finishDense, finishSparse, normalizeRows, pool } from '@trivec/core/vectors/heads';

const all: Wants = { dense: true, sparse: true, colbert: true, dimensions: 0, normalize: true };
const texts = [Int32Array.of(0, 5, 2), Int32Array.of(0, 7, 7, 9, 2)];

const plan: FeedPlan = {
  inputs: [
    { name: 'input_ids', role: 'ids', dtype: 'int64' },
    { name: 'attention_mask', role: 'mask', dtype: 'int64' },
    { name: 'token_type_ids', role: 'types', dtype: 'int32' },
    { name: 'position_ids', role: 'positions', dtype: 'int64' },
  ],
  padId: 1,
  paddingSide: 'right',
};

function feedsOf(paddingSide: 'right' | 'left'): number[][] {
  return buildFeeds(packBatch(texts, [all, all]), 5, { ...plan, paddingSide }).map(({ data }) =>
    Array.from<bigint | number, number>(data, Number),
  );
}

test('a graph is fed exactly the inputs it declares, padded on the side it wants', () => {
  assert.deepEqual(feedsOf('right'), [
    [0, 5, 2, 1, 1, 0, 7, 7, 9, 2],
    [1, 1, 1, 0, 0, 1, 1, 1, 1, 1],
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [0, 1, 2, 0, 0, 0, 1, 2, 3, 4],
  ]);
  assert.deepEqual(feedsOf('left').slice(0, 2), [
    [1, 1, 0, 5, 2, 0, 7, 7, 9, 2],
    [0, 0, 1, 1, 1, 1, 1, 1, 1, 1],
  ]);
});

const heads: HeadPlan = {
  dense: { output: 'd' },
  sparse: { output: 's' },
  colbert: { output: 'c' },
  ignoredSparseIds: [0, 1, 2, 3],
};

/** Row r of text b holds [b + 1, r + 1]; padding holds NaN. */
function colbertOf(rows: number, skipped: number): RawTensor {
  const data = new Float32Array(2 * rows * 2).fill(Number.NaN);
  for (const [b, ids] of texts.entries())
    for (let i = skipped; i < ids.length; i++) data.set([b + 1, i + 1], (b * rows + i - skipped) * 2);
  return { data, dims: [2, rows, 2] };
}

function finish(colbert: RawTensor, wants: readonly Wants[]) {
  const tensors = new Map<string, RawTensor>([
    ['d', { data: Float32Array.of(3, 4, 0, -2), dims: [2, 2] }],
    ['s', { data: Float32Array.of(9, 0.5, 9, 9, 9, 9, 0.25, 0.75, -1, 9), dims: [2, 5, 1] }],
    ['c', colbert],
  ]);
  const batch = packBatch(texts, wants);
  return unpackVectors(batch, finishBatch(tensors, batch, 5, { heads, paddingSide: 'right' }), heads);
}

test('three outputs come out finished, from all positions or from all but the first', () => {
  const [whole, without] = [finish(colbertOf(5, 0), [all, all]), finish(colbertOf(4, 1), [all, all])];
  assert.deepEqual(whole, without);
  const [first, second] = whole;
  assert.deepEqual(first?.dense, Float32Array.of(0.6, 0.8));
  assert.deepEqual(second?.dense, Float32Array.of(0, -1));
  assert.deepEqual(first?.sparse, { indices: Uint32Array.of(5), values: Float32Array.of(0.5) });
  assert.deepEqual(second?.sparse, { indices: Uint32Array.of(7), values: Float32Array.of(0.75) });
  assert.deepEqual([first?.colbert?.rows, second?.colbert?.rows], [2, 4]);
  assert.deepEqual(
    second?.colbert?.data.subarray(0, 2),
    Float32Array.of(2 / Math.hypot(2, 2), 2 / Math.hypot(2, 2)),
  );
  assert.ok(whole.every((vectors) => vectors?.colbert?.data.every(Number.isFinite)));
});

test('each text gets what it is wanted for: outputs, size, raw or normalised', () => {
  const [first, second] = finish(colbertOf(5, 0), [
    { ...all, sparse: false, colbert: false, dimensions: 1 },
    { ...all, dense: false },
  ]);
  assert.deepEqual(first, { tokens: 3, dense: Float32Array.of(1) });
  assert.deepEqual(Object.keys(second!), ['tokens', 'sparse', 'colbert']);
  const [raw] = finish(colbertOf(5, 0), [{ ...all, normalize: false }, all]);
  assert.deepEqual(raw?.dense, Float32Array.of(3, 4));
});

test('a text whose numbers are not finite has no vectors; its neighbour has', () => {
  const colbert = colbertOf(5, 0);
  colbert.data[2] = Number.NaN;
  const [first, second] = finish(colbert, [all, all]);
  assert.equal(first, undefined);
  assert.equal(second?.tokens, 5);
});

test('a tensor of another shape is refused, not misread', () => {
  assert.throws(
    () => finish({ data: new Float32Array(12), dims: [2, 3, 2] }, [all, all]),
    /\[2,3,2\].*\[2,4,any\]/,
  );
});

test('normalising is idempotent, and a zero row stays zero', () => {
  const row = Float32Array.of(3, -4, 12);
  assert.ok(normalizeRows(row, row, 3));
  const again = Float32Array.from(row);
  assert.ok(normalizeRows(again, again, 3));
  for (const [i, value] of again.entries()) assert.ok(Math.abs(value - row[i]!) < 1e-7);
  const zeros = new Float32Array(4);
  assert.ok(normalizeRows(new Float32Array(4), zeros, 2));
  assert.deepEqual(zeros, new Float32Array(4));
  assert.equal(finishDense(Float32Array.of(Number.POSITIVE_INFINITY), new Float32Array(1), false), false);
});

test('pooling takes the first, the last or the mean of the tokens', () => {
  const rows = Float32Array.of(1, 2, 3, 4, 8, 9);
  assert.deepEqual(pool(rows, 2, 'cls'), Float32Array.of(1, 2));
  assert.deepEqual(pool(rows, 2, 'last'), Float32Array.of(8, 9));
  assert.deepEqual(pool(rows, 2, 'mean'), Float32Array.of(4, 5));
});

test('a token id that occurs twice keeps its greatest weight; ids ascend; zero and NaN are no weights', () => {
  const { indices, values } = finishSparse(
    Int32Array.of(0, 300, 20, 300, 8, 9, 2),
    Float32Array.of(5, 1, 2, 3, 0, Number.NaN, 5),
    new Set([0, 2]),
  );
  assert.deepEqual(indices, Uint32Array.of(20, 300));
  assert.deepEqual(values, Float32Array.of(2, 3));
});

test('cores are physical ones, within the limit of the container', () => {
  const cpuinfo = [0, 0, 1, 1]
    .map((core, i) => `processor\t: ${i}\nphysical id\t: 0\ncore id\t\t: ${core}`)
    .join('\n\n');
  assert.equal(physicalCores(cpuinfo), 2);
  assert.equal(physicalCores('processor : 0'), undefined);
  const files = (contents: Record<string, string>) => (path: string) => contents[path];
  assert.equal(cgroupCores(files({ '/sys/fs/cgroup/cpu.max': '150000 100000\n' })), 1.5);
  assert.equal(cgroupCores(files({ '/sys/fs/cgroup/cpu.max': 'max 100000\n' })), undefined);
  const v1 = {
    '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1',
    '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000',
  };
  assert.equal(cgroupCores(files(v1)), undefined);
  assert.equal(countCores(files({ '/proc/cpuinfo': cpuinfo, '/sys/fs/cgroup/cpu.max': '50000 100000' })), 1);
});

test('auto prefers CUDA to the CPU; a named device stands alone', () => {
  assert.deepEqual(
    providersFor('auto').map(({ device }) => device),
    ['cuda:0', 'cpu'],
  );
  assert.deepEqual(providersFor('cuda:2'), [{ device: 'cuda:2', name: 'cuda', deviceId: 2 }]);
  assert.throws(() => providersFor('tpu'), { code: 'invalid_config' });
});
