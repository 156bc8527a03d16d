/**
 * Long work on a thread that others wait for, too: a page of results printed, a corpus searched. However many do it at
 * once, they share one slice of each turn of the event loop; whoever's slice is over stands in line for the next turn.
 */

/** Below what a turn may take, with what else it has to do, on a machine whose cores are all busy. */
const SLICE_MS = 2;

const line: (() => void)[] = [];
/** When the slice of this turn is over; 0 while nobody works. As long as it is not 0, `advance` is scheduled. */
let sliceEndsAtMs = 0;

/** Whether the time that long work has in this turn is used up: then `await nextTurn()`. */
export function isTurnOver(): boolean {
  begin();
  return performance.now() >= sliceEndsAtMs;
}

/** Resolves in a later turn of the event loop, first come, first served, with a slice of its own. */
export function nextTurn(): Promise<void> {
  begin();
  return new Promise((resolve) => {
    line.push(resolve);
  });
}

function begin(): void {
  if (sliceEndsAtMs !== 0) return;
  sliceEndsAtMs = performance.now() + SLICE_MS;
  setImmediate(advance);
}

/** One a turn: what it goes on with runs when this has returned. */
function advance(): void {
  const next = line.shift();
  if (next === undefined) {
    sliceEndsAtMs = 0;
    return;
  }
  sliceEndsAtMs = performance.now() + SLICE_MS;
  setImmediate(advance);
  next();
}
