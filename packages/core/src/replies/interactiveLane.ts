import type { Consumer } from '../queue/workQueue.ts';

/**
 * Synchronous work, answered while a client waits. On Redis: a BullMQ queue a fingerprint, and binary
 * replies over pub/sub (large ones as expiring keys with a notice). Embedded: handed over in process.
 * Tried once: a lost reply or a dead worker is `model_unavailable`, which the client may repeat.
 */
export interface InteractiveLane {
  /**
   * Rejects with `model_unavailable` at once where no worker serves the fingerprint,
   * `deadline_exceeded` past `deadlineAtMs`, `cancelled` when `signal` aborts (the work is withdrawn),
   * or the TrivecError that the handler threw.
   * Payloads and replies are plain structures of JSON values and typed arrays.
   */
  request<Task, Reply>(fingerprint: string, task: Task, options: RequestOptions): Promise<Reply>;
  /** Several handlers run at once (`concurrency`); work whose deadline passed is dropped unrun. */
  serve<Task, Reply>(
    fingerprint: string,
    handler: (task: Task, context: TaskContext) => Promise<Reply>,
    options: { concurrency: number },
  ): Promise<Consumer>;
  /** Requests that wait or run. */
  depth(fingerprint: string): Promise<number>;
  close(): Promise<void>;
}

export interface RequestOptions {
  /** Milliseconds since the epoch. */
  deadlineAtMs: number;
  signal?: AbortSignal;
}

export interface TaskContext {
  deadlineAtMs: number;
  /** Milliseconds between the request and the handler's start. */
  queuedMs: number;
  /** Aborts when the client left or the worker closes. */
  signal: AbortSignal;
}
