import type { Logger } from 'pino';
import { watchParent } from './npmParent.ts';

/** One Ctrl-C under npm arrives twice, from the terminal and from npm: within this time it is one. */
export const SAME_SIGNAL_MS = 500;

/**
 * Ctrl-C and SIGTERM close the process in order and let it end with code 0; a second signal ends it at once.
 * SIGKILL for the second, because `process.exit()` during a forward pass makes onnxruntime abort noisily.
 * `endsWithParent`: the end of the process that started this one counts as a SIGTERM where none came.
 */
export function closeOnSignal(
  close: () => Promise<void>,
  logger: Logger,
  { endsWithParent = false }: { endsWithParent?: boolean } = {},
): void {
  let firstSignalAtMs: number | undefined;
  const onSignal = (signal: NodeJS.Signals) => {
    const nowMs = performance.now();
    if (firstSignalAtMs !== undefined) {
      if (nowMs - firstSignalAtMs > SAME_SIGNAL_MS) process.kill(process.pid, 'SIGKILL');
      return;
    }
    firstSignalAtMs = nowMs;
    logger.info({ signal }, 'closing; the running batch may end, a second signal stops at once');
    close().then(
      () => process.exit(0),
      (error: unknown) => {
        logger.fatal({ err: error }, 'closing failed');
        process.exit(1);
      },
    );
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  if (endsWithParent)
    watchParent(() => {
      if (firstSignalAtMs === undefined) onSignal('SIGTERM');
    });
}

/** What a start has opened so far. `close` releases it in reverse order, once, also after a failed start. */
export class Resources {
  readonly #closers: (() => Promise<void>)[] = [];
  #closed: Promise<void> | undefined;

  add<T extends { close(): Promise<void> }>(resource: T): T {
    this.#closers.push(() => resource.close());
    return resource;
  }

  close(): Promise<void> {
    this.#closed ??= this.#closeAll();
    return this.#closed;
  }

  async #closeAll(): Promise<void> {
    const failures: unknown[] = [];
    for (const close of this.#closers.reverse()) {
      try {
        await close();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'Some parts did not close.');
  }
}
