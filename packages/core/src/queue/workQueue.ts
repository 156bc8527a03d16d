/** What travels through BullMQ in the bulk lane: a pointer, never a text or a vector. */
export interface ShardPointer {
  jobId: string;
  ordinal: number;
}

export interface QueueItem<T> {
  /** Deterministic: adding an id that waits or runs already changes nothing. No `:`, not an integer. */
  id: string;
  data: T;
  /**
   * Start-time fair queueing: the item's priority is the lowest one now waiting plus this offset
   * (its index over its job's weight). Equal offsets share the workers evenly.
   */
  fairOffset: number;
}

export interface Consumer {
  /** Takes nothing new, waits for handlers to return (their signals abort with `shutting_down`), gives the rest back. */
  close(): Promise<void>;
}

/**
 * A handler that resolves completes the item. One that throws a retryable TrivecError gives it back
 * for another try with backoff; `shutting_down` gives it back at once. Any other error ends the item:
 * the ledger, not the queue, is where a failure is recorded, so handlers record before they throw.
 */
export type QueueHandler<T> = (item: { id: string; data: T }, signal: AbortSignal) => Promise<void>;

export interface WorkQueue<T> {
  add(items: readonly QueueItem<T>[]): Promise<void>;
  /** `concurrency`: items taken at once, ≥ 1; a function is asked again after each item. */
  consume(handler: QueueHandler<T>, options: { concurrency: number | (() => number) }): Promise<Consumer>;
  /** Waiting items go; for an active one its handler's signal aborts with `cancelled`, when it runs in this process. */
  remove(ids: readonly string[]): Promise<void>;
  /** Ids that wait, are delayed or run, among those given. What a reconciler needs to know. */
  present(ids: readonly string[]): Promise<Set<string>>;
  counts(): Promise<{ waiting: number; active: number; delayed: number }>;
  close(): Promise<void>;
}

/** `jobId.ordinal.stage`: the queue id of a shard, the same in every process and after every crash. */
export function shardQueueId(pointer: ShardPointer, stage: 'embed' | 'sink'): string {
  return `${pointer.jobId}.${pointer.ordinal}.${stage}`;
}
