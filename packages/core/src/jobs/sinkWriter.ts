import { Worker } from 'node:worker_threads';
import { type ErrorCode, TrivecError } from '../errors.ts';
import type { QdrantTarget } from '../sinks/qdrant/targets.ts';
import type { WriteReport } from '../sinks/qdrant/writer.ts';
import type { WriteOptions, WriteTask } from './sinkWrite.ts';

export interface SinkWriter {
  /** As `writeShard`. Buffers of the task may be gone afterwards. */
  write(task: WriteTask, options: WriteOptions): Promise<WriteReport>;
  close(): Promise<void>;
}

export type ToWriter = { type: 'write'; id: number; task: WriteTask } | { type: 'abort'; id: number };

export type FromWriter =
  | { type: 'done'; id: number; report: WriteReport }
  | { type: 'failed'; id: number; code: ErrorCode; message: string; retryAfterSeconds?: number }
  | { type: 'written'; id: number; points: number; bytes: number }
  | { type: 'stall'; id: number; reason: string }
  | { type: 'retry' | 'slowDown'; id: number };

interface Pending {
  options: WriteOptions;
  resolve: (report: WriteReport) => void;
  reject: (error: unknown) => void;
}

/**
 * A thread that prints vectors as JSON and sends them: hundreds of megabytes a shard of ColBERT, which the thread that
 * feeds the device and answers requests must not be kept with.
 */
export function startSinkWriter(target: QdrantTarget): SinkWriter {
  const pending = new Map<number, Pending>();
  let thread: Worker | undefined;
  let lastId = 0;

  /** A thread that died is started again with the next shard; what it had goes back to the queue. */
  function fail(reason: string): void {
    thread = undefined;
    for (const { reject } of pending.values())
      reject(new TrivecError('sink_unavailable', `The thread that writes to Qdrant ended: ${reason}.`));
    pending.clear();
  }

  function start(): Worker {
    const worker = new Worker(new URL('./sinkWriterThread.ts', import.meta.url), {
      workerData: target,
    });
    worker.on('message', receive);
    worker.on('error', (error: Error) => fail(error.message));
    worker.on('exit', () => thread === worker && fail('without a reason'));
    return worker;
  }

  function receive(message: FromWriter): void {
    const entry = pending.get(message.id);
    if (entry === undefined) return;
    const { observer, signal } = entry.options;
    switch (message.type) {
      case 'written':
        observer?.onWritten?.(message.points, message.bytes);
        return;
      case 'retry':
        observer?.onRetry?.();
        return;
      case 'slowDown':
        observer?.onSlowDown?.();
        return;
      case 'stall':
        observer?.onStall?.(message.reason);
        return;
      case 'done':
        entry.resolve(message.report);
        break;
      case 'failed': {
        const { code, message: text, retryAfterSeconds } = message;
        const details = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
        entry.reject(signal.aborted ? signal.reason : new TrivecError(code, text, details));
      }
    }
    pending.delete(message.id);
  }

  return {
    write: (task, options) =>
      new Promise((resolve, reject) => {
        options.signal.throwIfAborted();
        thread ??= start();
        const worker = thread;
        const id = ++lastId;
        const abort = () => worker.postMessage({ type: 'abort', id } satisfies ToWriter);
        options.signal.addEventListener('abort', abort, { once: true });
        const settled = () => options.signal.removeEventListener('abort', abort);
        pending.set(id, {
          options,
          resolve: (report) => {
            settled();
            resolve(report);
          },
          reject: (error) => {
            settled();
            reject(error);
          },
        });
        try {
          worker.postMessage({ type: 'write', id, task } satisfies ToWriter, movable(task));
        } catch (error) {
          pending.get(id)?.reject(error);
          pending.delete(id);
        }
      }),
    close: async () => {
      const worker = thread;
      thread = undefined;
      await worker?.terminate();
      fail('it was closed');
    },
  };
}

/** Moved instead of copied, where nobody else has a view of the same memory. */
function movable({ results, documents }: WriteTask): ArrayBuffer[] {
  return [results, documents].flatMap((bytes) =>
    bytes?.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength
      ? [bytes.buffer]
      : [],
  );
}
