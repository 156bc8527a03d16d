import {
  type Job,
  type JobsOptions,
  type Processor,
  type Queue,
  UnrecoverableError,
  WaitingError,
} from 'bullmq';
import { TrivecError } from '../errors.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { BullmqDriver, OpenedWorker } from './bullmqDriver.ts';
import { closeWorker } from './closeWorker.ts';
import { retryDelayMs } from './retryDelay.ts';
import type { Consumer, QueueHandler, QueueItem, WorkQueue } from './workQueue.ts';

/** Items of one round trip; larger ones hold up the server for everybody. */
const CHUNK = 1_000;
/** BullMQ's highest. Items without one (0) would always go first, so every item has one. */
const MAX_PRIORITY = 2 ** 21 - 1;
const MAX_INT32 = 2 ** 31 - 1;

const JOB_OPTIONS = {
  attempts: MAX_INT32,
  backoff: { type: 'trivec' },
  // a finished item leaves at once, so that its deterministic id can be added again
  removeOnComplete: true,
  removeOnFail: true,
  stackTraceLimit: 0,
} satisfies JobsOptions;

export interface BullmqQueueOptions {
  /** Our name; the driver makes BullMQ's from it. */
  name: string;
  driver: BullmqDriver;
  /** A worker that is silent for this long has lost its items. */
  lockDurationMs: number;
  logger: Logger;
}

/** The one implementation of WorkQueue. Driver: Redis, or the embedded Postgres. */
export class BullmqWorkQueue<T> implements WorkQueue<T> {
  readonly #options: BullmqQueueOptions;
  readonly #name: string;
  readonly #queue: Queue<T>;
  readonly #consumers = new Set<BullmqConsumer<T>>();
  #closing: Promise<void> | undefined;

  constructor(options: BullmqQueueOptions) {
    this.#options = options;
    this.#name = options.driver.queueName(options.name);
    this.#queue = options.driver.openQueue<T>(this.#name);
    // failures reach the callers; without a listener Node would also throw them
    this.#queue.on('error', () => undefined);
  }

  add(items: readonly QueueItem<T>[]): Promise<void> {
    return this.#guard(async () => {
      if (items.length === 0) return;
      const base = await this.#lowestWaitingPriority();
      for (const chunk of chunks(items)) {
        const jobs = chunk.map(({ id, data, fairOffset }) => ({
          name: 'item',
          data,
          opts: { ...JOB_OPTIONS, jobId: id, priority: priorityOf(base, fairOffset) },
        }));
        await this.#queue.addBulk(jobs as unknown as Parameters<Queue<T>['addBulk']>[0]);
      }
    });
  }

  consume(
    handler: QueueHandler<T>,
    { concurrency }: { concurrency: number | (() => number) },
  ): Promise<Consumer> {
    return this.#guard(async () => {
      const itemsAtOnce = typeof concurrency === 'number' ? () => concurrency : concurrency;
      const consumer = new BullmqConsumer<T>(this.#name, handler, itemsAtOnce, this.#options, () =>
        this.#consumers.delete(consumer),
      );
      this.#consumers.add(consumer);
      await consumer.ready();
      return consumer;
    });
  }

  remove(ids: readonly string[]): Promise<void> {
    return this.#guard(async () => {
      for (const chunk of chunks(ids)) await this.#options.driver.removeUnlocked(this.#queue, chunk);
      for (const consumer of this.#consumers) consumer.cancel(ids);
    });
  }

  present(ids: readonly string[]): Promise<Set<string>> {
    return this.#guard(async () => {
      const found = new Set<string>();
      for (const chunk of chunks(ids)) {
        for (const id of await this.#options.driver.present(this.#queue, chunk)) found.add(id);
      }
      return found;
    });
  }

  counts(): Promise<{ waiting: number; active: number; delayed: number }> {
    return this.#guard(async () => {
      const counts = await this.#queue.getJobCounts('waiting', 'prioritized', 'active', 'delayed');
      const { waiting = 0, prioritized = 0, active = 0, delayed = 0 } = counts;
      return { waiting: waiting + prioritized, active, delayed };
    });
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      await Promise.all([...this.#consumers].map((consumer) => consumer.close()));
      await this.#queue.close();
    })();
    return this.#closing;
  }

  /** 0 where nothing waits: an idle queue's virtual time starts again. */
  async #lowestWaitingPriority(): Promise<number> {
    const [first] = await this.#queue.getPrioritized(0, 0);
    return first?.opts.priority ?? 0;
  }

  async #guard<R>(action: () => Promise<R>): Promise<R> {
    if (this.#closing) throw new TrivecError('shutting_down', 'The queue is closed.');
    try {
      return await action();
    } catch (error) {
      throw this.#options.driver.toTrivecError(error);
    }
  }
}

class BullmqConsumer<T> implements Consumer {
  readonly #handler: QueueHandler<T>;
  readonly #itemsAtOnce: () => number;
  readonly #logger: Logger;
  readonly #opened: OpenedWorker<T>;
  /** More than one of an id: an item whose lock was lost can come back while it still runs here. */
  readonly #controllers = new Set<{ id: string; controller: AbortController }>();
  readonly #running = new Set<Promise<void>>();
  readonly #onClosed: () => void;
  #closing: Promise<void> | undefined;

  constructor(
    name: string,
    handler: QueueHandler<T>,
    itemsAtOnce: () => number,
    options: BullmqQueueOptions,
    onClosed: () => void,
  ) {
    this.#handler = handler;
    this.#itemsAtOnce = itemsAtOnce;
    this.#logger = options.logger;
    this.#onClosed = onClosed;
    this.#opened = openWorker<T>(name, (job, token) => this.#process(job, token), itemsAtOnce(), options);
  }

  async ready(): Promise<void> {
    await this.#opened.worker.waitUntilReady();
  }

  cancel(ids: readonly string[]): void {
    const removed = new Set(ids);
    for (const { id, controller } of this.#controllers) {
      if (removed.has(id))
        controller.abort(new TrivecError('cancelled', 'The item was removed from its queue.'));
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const abort = () => {
      const reason = new TrivecError('shutting_down', 'The worker is stopping.', { retryAfterSeconds: 1 });
      for (const { controller } of this.#controllers) controller.abort(reason);
    };
    await closeWorker(this.#opened, this.#running, abort, this.#logger);
    this.#onClosed();
  }

  async #process(job: Job<T, void>, token: string | undefined): Promise<void> {
    if (this.#closing) await giveBack(job, token);
    const id = job.id!;
    const controller = new AbortController();
    const held = { id, controller };
    this.#controllers.add(held);
    const run = (async () => this.#handler({ id, data: job.data }, controller.signal))();
    this.#running.add(run);
    try {
      await run;
    } catch (error) {
      if (controller.signal.aborted && (controller.signal.reason as TrivecError).code === 'cancelled') {
        throw new UnrecoverableError('cancelled');
      }
      if (!(error instanceof TrivecError && error.retryable)) {
        const code = error instanceof TrivecError ? error.code : 'internal';
        this.#logger.error(
          { item: id, code, reason: (error as Error)?.message },
          'an item ended with an error',
        );
        throw new UnrecoverableError(code);
      }
      // BullMQ would hand it to this same worker again at once, so only while closing
      if (error.code === 'shutting_down' && this.#closing) await giveBack(job, token);
      this.#logger.warn({ item: id, code: error.code, reason: error.message }, 'an item will be tried again');
      throw error;
    } finally {
      this.#running.delete(run);
      this.#controllers.delete(held);
      this.#opened.worker.concurrency = this.#itemsAtOnce();
    }
  }
}

function openWorker<T>(
  name: string,
  processor: Processor<T, void>,
  concurrency: number,
  { driver, lockDurationMs, logger }: BullmqQueueOptions,
): OpenedWorker<T> {
  const opened = driver.openWorker<T>(name, processor, {
    concurrency,
    lockDuration: lockDurationMs,
    // A dead worker's item comes back after the lock and at most two checks (one may be skipped by a
    // check of another worker): 15 s + 2 × 1.9 s with the default lock.
    stalledInterval: Math.max(250, Math.round(lockDurationMs / 8)),
    // how often a shard may lose its worker is decided from the ledger, not here
    maxStalledCount: MAX_INT32,
    runRetryDelay: 1_000,
    settings: { backoffStrategy: (attempt, _type, error) => retryDelayMs(attempt, error) },
  });
  opened.worker.on('error', (error) => logQueueError(driver, logger, error));
  return opened;
}

/** For another worker to take now; to be thrown on by the processor. */
export async function giveBack<T>(job: Job<T, void>, token: string | undefined): Promise<never> {
  await job.moveToWait(token);
  throw new WaitingError();
}

function priorityOf(base: number, fairOffset: number): number {
  return Math.min(MAX_PRIORITY, Math.max(1, Math.round(base + fairOffset)));
}

function* chunks<Item>(items: readonly Item[]): Generator<Item[]> {
  for (let start = 0; start < items.length; start += CHUNK) yield items.slice(start, start + CHUNK);
}

/** Outages are logged once by the connection; BullMQ says so again at every attempt. */
export function logQueueError(driver: BullmqDriver, logger: Logger, error: Error): void {
  const { code, message } = driver.toTrivecError(error);
  if (code === 'backend_unavailable') logger.debug({ reason: message }, 'queue');
  else logger.warn({ reason: message }, 'queue');
}
