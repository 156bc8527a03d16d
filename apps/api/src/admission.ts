import type { Config } from '@trivec/core/config';
import { TrivecError } from '@trivec/core/errors';
import { laneErrors, timerMs } from '@trivec/core/replies/laneErrors';
import { type FairItem, FairQueue } from './fairQueue.ts';
import { RateEstimate } from './rateEstimate.ts';

export interface Turn {
  /** Whose turn: the name of an API key, or an address. */
  client: string;
  /** Estimated tokens. */
  cost: number;
  deadlineAtMs: number;
  signal: AbortSignal;
}

/** How it stands with the work of one model in this process. */
export interface Load {
  queueDepth: number;
  queueCapacity: number;
  /** 0 as long as nothing was measured. */
  estimatedWaitMs: number;
}

/** A refusal before any work, with the load that was the reason. */
export class OverloadedError extends TrivecError {
  readonly load: Load;

  constructor(message: string, load: Load) {
    super('overloaded', message, { retryAfterSeconds: Math.max(1, Math.ceil(load.estimatedWaitMs / 1000)) });
    this.load = load;
  }
}

interface Line {
  queue: FairQueue<() => void>;
  running: number;
  runningCost: number;
  rate: RateEstimate;
}

export interface AdmissionOptions extends Pick<Config, 'maxConcurrentTasks' | 'maxQueuedTasks'> {
  /** Padded tokens that all workers of a fingerprint run in one batch each. */
  batchTokens(fingerprint: string): number;
}

/** What is handed over ahead of the devices, in batches: one runs, the next is packed full. */
const BATCHES_AHEAD = 2;
/** Of the time that a request has: others come after it and take their turns, which nobody can foresee. */
const PATIENCE = 0.6;
/** Everybody may have one request in a full queue, but each holds memory, and addresses cost nothing. */
const LONGEST_QUEUE = 2;
const UNKNOWN_BATCH_TOKENS = 16_384;

/**
 * Between the routes and the interactive lane: says no before work is done, and lets clients take turns by the cost
 * of what they ask. Only what the devices can soon run is handed over; the rest waits here, where it can be ordered
 * and withdrawn.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #lines = new Map<string, Line>();

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /**
   * Throws `overloaded` where this client's share of the queue is taken, or where the wait would outlast the deadline.
   * A full queue is shared by who waits in it: a greedy client is refused while a modest one is let in.
   */
  admit(fingerprint: string, turn: Turn): void {
    const { queue } = this.#line(fingerprint);
    const load = this.load(fingerprint, turn.client, turn.cost);
    const { maxQueuedTasks } = this.#options;
    const others = queue.waitingClients - (queue.sizeOf(turn.client) > 0 ? 1 : 0);
    if (queue.size >= LONGEST_QUEUE * maxQueuedTasks)
      throw new OverloadedError(
        `The queue is full: ${queue.size} requests of ${queue.waitingClients} clients wait, and MAX_QUEUED_TASKS is ${maxQueuedTasks}.`,
        load,
      );
    const share = Math.max(1, Math.floor(maxQueuedTasks / (others + 1)));
    if (queue.size > 0 && queue.sizeOf(turn.client) >= share)
      throw new OverloadedError(
        `The queue is full: ${queue.sizeOf(turn.client)} of your requests wait, and your share of MAX_QUEUED_TASKS is ${share}.`,
        load,
      );
    if (queue.size > 0 && load.estimatedWaitMs > PATIENCE * (turn.deadlineAtMs - Date.now()))
      throw new OverloadedError(
        `The answer would take about ${load.estimatedWaitMs} ms, too near the end of the time that this request has.`,
        load,
      );
  }

  /** Runs `work` when it is this client's turn. Rejects with `cancelled` or `deadline_exceeded` while it waits. */
  async run<T>(fingerprint: string, turn: Turn, work: () => Promise<T>): Promise<T> {
    const line = this.#line(fingerprint);
    await this.#wait(fingerprint, line, turn);
    try {
      return await work();
    } finally {
      line.running--;
      line.runningCost -= turn.cost;
      line.rate.ended(turn.cost);
      this.#pump(fingerprint, line);
    }
  }

  load(fingerprint: string, client = '', cost = 0): Load {
    const { queue, running, runningCost, rate } = this.#line(fingerprint);
    const costPerMs = rate.costPerMs();
    const ahead = runningCost + queue.costUntil(client, cost);
    return {
      queueDepth: queue.size + running,
      queueCapacity: this.#options.maxQueuedTasks + this.#options.maxConcurrentTasks,
      estimatedWaitMs: costPerMs > 0 ? Math.round(ahead / costPerMs) : 0,
    };
  }

  /** What waits here and has not been handed over. */
  waiting(fingerprint: string): number {
    return this.#line(fingerprint).queue.size;
  }

  #wait(fingerprint: string, line: Line, { client, cost, deadlineAtMs, signal }: Turn): Promise<void> {
    if (signal.aborted) return Promise.reject(laneErrors.cancelled());
    if (line.queue.size === 0 && this.#hasRoom(fingerprint, line, cost)) {
      grant(line, cost);
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const leave = (action: () => void) => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        line.queue.remove(item);
        action();
      };
      const onAbort = () => leave(() => reject(laneErrors.cancelled()));
      const timer = setTimeout(() => leave(() => reject(laneErrors.deadline())), timerMs(deadlineAtMs));
      signal.addEventListener('abort', onAbort, { once: true });
      const item: FairItem<() => void> = line.queue.push(client, cost, () => leave(resolve));
    });
  }

  #pump(fingerprint: string, line: Line): void {
    for (let next = line.queue.peek(); next !== undefined; next = line.queue.peek()) {
      if (!this.#hasRoom(fingerprint, line, next.cost)) return;
      line.queue.shift();
      grant(line, next.cost);
      next.value();
    }
  }

  #hasRoom(fingerprint: string, line: Line, cost: number): boolean {
    if (line.running === 0) return true;
    if (line.running >= this.#options.maxConcurrentTasks) return false;
    const tokens = this.#options.batchTokens(fingerprint) || UNKNOWN_BATCH_TOKENS;
    return line.runningCost + cost <= BATCHES_AHEAD * tokens;
  }

  #line(fingerprint: string): Line {
    let line = this.#lines.get(fingerprint);
    if (line === undefined) {
      line = { queue: new FairQueue(), running: 0, runningCost: 0, rate: new RateEstimate() };
      this.#lines.set(fingerprint, line);
    }
    return line;
  }
}

/** At once, not when the one that waits gets to know: nobody else may take the same room. */
function grant(line: Line, cost: number): void {
  if (line.running === 0) line.rate.started();
  line.running++;
  line.runningCost += cost;
}
