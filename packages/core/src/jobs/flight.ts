import { randomUUID } from 'node:crypto';
import type { LedgerStore } from '../ledger/ledgerStore.ts';
import type { ShardPointer } from '../queue/workQueue.ts';

/** A document that takes its process with it this often, with nothing else in flight, is not tried again. */
export const DEATHS_TO_CONVICT = 3;

/** A shard that ends this often with an error that no second try heals is given up: its documents fail. */
export const FAILURES_TO_GIVE_UP = 3;

/** What the holder of a shard notes before each step that could kill it. Numbers are positions in the shard. */
export interface FlightNote {
  /** Which process wrote it. */
  process: string;
  inFlight: readonly number[];
  /** Nothing else was being embedded in the process. */
  alone: boolean;
  /** Were in flight when an earlier process died, and have not been shown to be harmless. */
  suspects: readonly number[];
  /** How often the process died with this document alone in flight. */
  deaths: readonly (readonly [position: number, deaths: number])[];
  /** How often an attempt ended with an error that is not worth another try. */
  failures?: number;
}

export interface Suspicion {
  suspects: Set<number>;
  deaths: Map<number, number>;
}

/**
 * What a note means to whoever takes the shard next. The note of a process that still lives (this one) blames nobody:
 * the shard merely came back. Pure.
 */
export function suspicionFrom(note: FlightNote | undefined, thisProcess: string): Suspicion {
  const suspects = new Set(note?.suspects);
  const deaths = new Map(note?.deaths);
  if (note === undefined || note.process === thisProcess) return { suspects, deaths };
  for (const position of note.inFlight) suspects.add(position);
  const [only] = note.inFlight;
  if (note.alone && only !== undefined && note.inFlight.length === 1)
    deaths.set(only, (deaths.get(only) ?? 0) + 1);
  return { suspects, deaths };
}

/**
 * The flight of one shard in this process. Each `depart` is one small write to the ledger, so that after a death
 * only what was in flight is suspected.
 */
export class Flight {
  private readonly store: LedgerStore;
  private readonly pointer: ShardPointer;
  private readonly process: string;
  private readonly suspicion: Suspicion;
  private readonly failures: number;

  private constructor(
    store: LedgerStore,
    pointer: ShardPointer,
    process: string,
    note: FlightNote | undefined,
  ) {
    this.store = store;
    this.pointer = pointer;
    this.process = process;
    this.suspicion = suspicionFrom(note, process);
    this.failures = note?.failures ?? 0;
  }

  /** Reads what the holder before has left, and makes it this one's before anything departs. */
  static async open(store: LedgerStore, pointer: ShardPointer, process: string): Promise<Flight> {
    const note = await readNote(store, pointer);
    const flight = new Flight(store, pointer, process, note);
    if (note !== undefined) await flight.depart([], false);
    return flight;
  }

  /** Notes an error that is not worth another try; answers how many there were with it. */
  static async noteFailure(store: LedgerStore, pointer: ShardPointer, process: string): Promise<number> {
    const note = await readNote(store, pointer);
    const failures = (note?.failures ?? 0) + 1;
    const next: FlightNote = {
      process,
      inFlight: [],
      alone: false,
      suspects: note?.suspects ?? [],
      deaths: note?.deaths ?? [],
      failures,
    };
    await store.writeNote(pointer.jobId, pointer.ordinal, JSON.stringify(next));
    return failures;
  }

  /**
   * Those to be run alone. The least suspicious first: kills that have nothing to do with documents, however regular,
   * then spread over all of them.
   */
  get suspects(): number[] {
    const { suspects, deaths } = this.suspicion;
    return [...suspects]
      .filter((position) => !this.isConvicted(position))
      .sort((a, b) => (deaths.get(a) ?? 0) - (deaths.get(b) ?? 0) || a - b);
  }

  get convicted(): number[] {
    return [...this.suspicion.deaths.keys()].filter((position) => this.isConvicted(position));
  }

  async depart(inFlight: readonly number[], alone: boolean): Promise<void> {
    const { suspects, deaths } = this.suspicion;
    const note: FlightNote = {
      process: this.process,
      inFlight,
      alone,
      suspects: [...suspects],
      deaths: [...deaths],
      ...(this.failures > 0 && { failures: this.failures }),
    };
    await this.store.writeNote(this.pointer.jobId, this.pointer.ordinal, JSON.stringify(note));
  }

  /** It ran alone and the process lives: whatever killed the ones before, it was not this. */
  acquit(position: number): void {
    this.suspicion.suspects.delete(position);
    this.suspicion.deaths.delete(position);
  }

  private isConvicted(position: number): boolean {
    return (this.suspicion.deaths.get(position) ?? 0) >= DEATHS_TO_CONVICT;
  }
}

/** A note that cannot be read says nothing: the shard is only tried without what it knew. */
async function readNote(
  store: LedgerStore,
  { jobId, ordinal }: ShardPointer,
): Promise<FlightNote | undefined> {
  const text = await store.readNote(jobId, ordinal);
  try {
    return text === undefined ? undefined : (JSON.parse(text) as FlightNote);
  } catch {
    return undefined;
  }
}

interface Waiter {
  exclusive: boolean;
  enter: () => void;
}

/**
 * This process, as a holder of shards. Several share it; who has to run a suspect gets it for itself, so that a
 * death has one possible reason. First come, first served.
 */
export class ShardHolder {
  readonly id = randomUUID();
  private shared = 0;
  private exclusive = false;
  private readonly waiting: Waiter[] = [];

  async together<T>(work: () => Promise<T>): Promise<T> {
    await this.enter(false);
    try {
      return await work();
    } finally {
      this.shared--;
      this.admit();
    }
  }

  async alone<T>(work: () => Promise<T>): Promise<T> {
    await this.enter(true);
    try {
      return await work();
    } finally {
      this.exclusive = false;
      this.admit();
    }
  }

  private enter(exclusive: boolean): Promise<void> {
    return new Promise((enter) => {
      this.waiting.push({ exclusive, enter });
      this.admit();
    });
  }

  private admit(): void {
    for (let [next] = this.waiting; next !== undefined; [next] = this.waiting) {
      if (this.exclusive || (next.exclusive && this.shared > 0)) return;
      if (next.exclusive) this.exclusive = true;
      else this.shared++;
      this.waiting.shift();
      next.enter();
    }
  }
}

/** What every shard of this process is held by, unless a test says otherwise. */
export const THIS_PROCESS = new ShardHolder();
