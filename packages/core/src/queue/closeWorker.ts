import type { Logger } from '../telemetry/logger.ts';
import type { OpenedWorker } from './bullmqDriver.ts';

/** How long an orderly close waits for a server that is connected but does not answer. */
const CLOSE_TIMEOUT_MS = 5_000;

/**
 * Takes nothing new, calls `abort`, waits for what runs, then lets go of the connections, also of a server
 * that is gone.
 */
export async function closeWorker<T>(
  { worker, isConnected, release }: OpenedWorker<T>,
  running: ReadonlySet<Promise<unknown>>,
  abort: () => void,
  logger: Logger,
): Promise<void> {
  // from here on it fetches nothing, and what it has just fetched finds its handler closing
  await worker.pause(true);
  abort();
  await Promise.allSettled(running);
  const force = !isConnected();
  const closed = await settlesWithin(worker.close(force), CLOSE_TIMEOUT_MS);
  if (force || !closed) {
    logger.warn('the queue does not answer; what it gave comes back when its locks expire');
  }
  release();
}

async function settlesWithin(promise: Promise<unknown>, limitMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), limitMs);
  });
  const settled = promise.then(
    () => true,
    () => true,
  );
  return await Promise.race([settled, timeout]).finally(() => clearTimeout(timer));
}
