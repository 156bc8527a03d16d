import { type Config, loadConfig, misspeltOptions, readEnvironment } from './config.ts';
import { TrivecError } from './errors.ts';
import { isRunByNpm } from './npmParent.ts';
import { closeOnSignal, Resources } from './shutdown.ts';
import { createLogger, type Logger } from './telemetry/logger.ts';

/** The exit code of a start that another attempt would end in just the same way; a supervisor gives up on it. */
const CANNOT_START = 2;

/** What a process that is at its end may take for closing what it holds. */
const FAILING_CLOSE_MS = 10_000;

export interface ProcessContext {
  config: Config;
  logger: Logger;
  /** Whatever `start` opens and adds here is closed in reverse order on a signal, or when the start fails. */
  resources: Resources;
  /** What cannot go on, such as a worker whose device is lost, ends the process with 1, so that whoever watches it starts it again. */
  fail: (error: Error) => void;
}

/**
 * The frame of every main.ts: environment to configuration, logger, start, close on a signal.
 * `shared`: this process is no use without others on the same backend, so the embedded one is refused.
 * A start that fails says why in one line on stderr and exits 2 (a mistake to mend) or 1 (may heal by itself).
 */
export async function runProcess(
  backend: 'shared' | 'any',
  start: (context: ProcessContext) => Promise<void>,
): Promise<void> {
  const resources = new Resources();
  try {
    const env = readEnvironment();
    const config = loadConfig(env);
    if (backend === 'shared') requireSharedBackend(config);
    const logger = createLogger(config);
    for (const line of misspeltOptions()) logger.warn(line);
    closeOnSignal(() => resources.close(), logger, { endsWithParent: isRunByNpm(env) });
    const fail = (error: Error): void => {
      logger.fatal({ err: error }, 'this process cannot go on and ends');
      const giveUp = setTimeout(() => process.exit(1), FAILING_CLOSE_MS);
      giveUp.unref();
      resources.close().then(
        () => process.exit(1),
        () => process.exit(1),
      );
    };
    await start({ config, logger, resources, fail });
  } catch (error) {
    process.stderr.write(`trivec: ${describe(error)}\n`);
    await resources.close().catch(() => undefined);
    process.exit(error instanceof TrivecError && !error.retryable ? CANNOT_START : 1);
  }
}

function requireSharedBackend(config: Config): void {
  if (config.backendUrl !== 'embedded') return;
  throw new TrivecError(
    'invalid_config',
    'BACKEND_URL: the embedded backend serves one process, which is what `npm start` runs. ' +
      'API and worker as separate processes need redis://….',
    { param: 'BACKEND_URL' },
  );
}

function describe(error: unknown): string {
  if (error instanceof TrivecError && error.code !== 'internal') return `${error.message} [${error.code}]`;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
