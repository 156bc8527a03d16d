/** What a batch takes on a device, fitted to what a few took: ms = fixed + a · tokens + b · count · length². Pure. */

export interface Shape {
  count: number;
  /** Of the longest text; the others are padded to it. */
  length: number;
}

export interface Timed extends Shape {
  ms: number;
}

/** None is negative. */
export interface BatchCost {
  fixedMs: number;
  /** A padded token's: the products with weights. */
  msPerToken: number;
  /** A pair of tokens': attention, count · length² of them. */
  msPerPair: number;
}

/**
 * What a batch costs beside its pass: a message each way, unpacking, and what other threads do for it on the cores of
 * the pass (a note to the ledger, packing), as measured with an embedded backend on two cores: 1.5 to 2 ms.
 */
export const BATCH_OVERHEAD_MS = 2;

type Row = readonly [fixed: number, tokens: number, pairs: number];

function termsOf({ count, length }: Shape): Row {
  return [1, count * length, count * length ** 2];
}

export function predictMs({ fixedMs, msPerToken, msPerPair }: BatchCost, shape: Shape): number {
  const [, tokens, pairs] = termsOf(shape);
  return fixedMs + msPerToken * tokens + msPerPair * pairs;
}

/** What a batch costs this process, on a machine that takes `pace` times what it took when it was measured. */
export function predictBatchMs(cost: BatchCost, shape: Shape, pace = 1): number {
  return predictMs(cost, shape) * pace + BATCH_OVERHEAD_MS;
}

/** How many texts of a length fit into so many milliseconds; may be below 1. */
export function textsWithin(
  { fixedMs, msPerToken, msPerPair }: BatchCost,
  length: number,
  ms: number,
): number {
  const each = msPerToken * length + msPerPair * length ** 2;
  return each === 0 ? Number.POSITIVE_INFINITY : (ms - fixedMs) / each;
}

/** Of those that explain as much the first counts: what a short run took is taken to grow with its tokens. */
const CHOICES: readonly (readonly number[])[] = [[1], [0], [0, 1], [1, 2], [2], [0, 2], [0, 1, 2]];

/**
 * Non-negative least squares of the relative errors, so that short runs count as much as long ones. With three
 * coefficients every choice of those above zero can be tried: the best feasible one is the solution.
 * Zero everywhere without a sample that took time.
 */
export function fitCost(samples: readonly Timed[]): BatchCost {
  const usable = samples.filter(({ ms }) => ms > 0 && Number.isFinite(ms));
  const rows = usable.map((sample) => termsOf(sample).map((term) => term / sample.ms) as unknown as Row);
  // Columns of like size keep the elimination exact enough.
  const scales = [0, 1, 2].map((term) => Math.max(...rows.map((row) => row[term]!), Number.MIN_VALUE));
  const scaled = rows.map((row) => row.map((value, term) => value / scales[term]!));
  let best: number[] = [0, 0, 0];
  let least = usable.length === 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  for (const terms of CHOICES) {
    const solved = solveLeastSquares(scaled, terms);
    if (solved === undefined || solved.some((value) => value < 0)) continue;
    const squares = scaled.reduce(
      (sum, row) => sum + (terms.reduce((value, term, i) => value + row[term]! * solved[i]!, 0) - 1) ** 2,
      0,
    );
    if (squares >= least - 1e-12) continue;
    least = squares;
    best = [0, 0, 0];
    for (const [i, term] of terms.entries()) best[term] = solved[i]! / scales[term]!;
  }
  const [fixedMs = 0, msPerToken = 0, msPerPair = 0] = best;
  return { fixedMs, msPerToken, msPerPair };
}

/** The coefficients of the columns `terms` that come nearest to 1 in every row; undefined where they are not independent. */
function solveLeastSquares(
  rows: readonly (readonly number[])[],
  terms: readonly number[],
): number[] | undefined {
  const system = terms.map((left) => [
    ...terms.map((right) => rows.reduce((sum, row) => sum + row[left]! * row[right]!, 0)),
    rows.reduce((sum, row) => sum + row[left]!, 0),
  ]);
  const size = terms.length;
  for (let at = 0; at < size; at++) {
    let pivot = at;
    for (let row = at + 1; row < size; row++)
      if (Math.abs(system[row]![at]!) > Math.abs(system[pivot]![at]!)) pivot = row;
    [system[at], system[pivot]] = [system[pivot]!, system[at]!];
    const head = system[at]!;
    if (Math.abs(head[at]!) < 1e-10) return undefined;
    for (const [index, row] of system.entries()) {
      if (index === at) continue;
      const factor = row[at]! / head[at]!;
      for (let column = at; column <= size; column++) row[column]! -= factor * head[column]!;
    }
  }
  return system.map((row, at) => row[size]! / row[at]!);
}
