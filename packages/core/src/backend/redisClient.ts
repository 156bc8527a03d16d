import { Redis, type RedisOptions } from 'ioredis';
import { TrivecError } from '../errors.ts';
import type { Logger } from '../telemetry/logger.ts';

const CONNECT_TIMEOUT_MS = 10_000;
const COMMAND_TIMEOUT_MS = 30_000;
const RECONNECT_MAX_DELAY_MS = 2_000;
/** A connection that is only listened on would not notice for hours that the other side is gone. */
const KEEP_ALIVE_AFTER_MS = 30_000;

/**
 * A connection whose commands fail within seconds while Redis is away, so that callers answer 503 instead
 * of hanging. Throws `backend_unavailable` when Redis has not answered in time.
 */
export async function connectRedis(
  url: string,
  logger: Logger,
  timeoutMs = CONNECT_TIMEOUT_MS,
): Promise<Redis> {
  const redis = new Redis(url, {
    lazyConnect: true,
    maxRetriesPerRequest: 2,
    commandTimeout: COMMAND_TIMEOUT_MS,
    keepAlive: KEEP_ALIVE_AFTER_MS,
    retryStrategy: (attempt) =>
      Math.min(50 * 2 ** attempt, RECONNECT_MAX_DELAY_MS) * (0.5 + Math.random() / 2),
  });
  redis.setMaxListeners(0);
  logOutages(redis, logger, 'commands');
  let lastError: Error | undefined;
  redis.on('error', (error) => {
    lastError = error;
  });
  const ready = await new Promise<boolean>((resolve) => {
    const timer = setTimeout(() => resolve(false), timeoutMs);
    redis.once('ready', () => {
      clearTimeout(timer);
      resolve(true);
    });
    redis.connect().catch(() => undefined);
  });
  if (ready) return redis;
  redis.disconnect();
  throw new TrivecError(
    'backend_unavailable',
    `BACKEND_URL: Redis at ${withoutCredentials(url)} does not answer: ${lastError?.message ?? 'timed out'}.`,
    { param: 'BACKEND_URL', cause: lastError },
  );
}

/**
 * Another connection to the same server. `patient`: its commands wait for as long as Redis is away, which
 * is what BullMQ's workers need.
 */
export function duplicateRedis(
  redis: Redis,
  logger: Logger,
  name: string,
  options: { patient: boolean },
): Redis {
  const overrides: Partial<RedisOptions> = options.patient
    ? { lazyConnect: false, maxRetriesPerRequest: null, commandTimeout: undefined }
    : { lazyConnect: false };
  const copy = redis.duplicate(overrides);
  copy.setMaxListeners(0);
  logOutages(copy, logger, name);
  return copy;
}

/** Lets commands in flight end; gives up on a server that is gone. */
export async function closeRedis(redis: Redis): Promise<void> {
  if (redis.status === 'end') return;
  if (redis.status === 'ready') await Promise.race([redis.quit().catch(() => undefined), delay(1_000)]);
  redis.disconnect();
}

/** One line when the connection is lost and one when it is back, instead of one an attempt. */
function logOutages(redis: Redis, logger: Logger, connection: string): void {
  let away = false;
  redis.on('error', (error: Error) => {
    if (!away) logger.warn({ connection, reason: error.message }, 'Redis is away');
    away = true;
  });
  redis.on('ready', () => {
    if (away) logger.info({ connection }, 'Redis is back');
    away = false;
  });
}

const HEALING_REPLY =
  /^(OOM|LOADING|READONLY|MISCONF|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|BUSY|UNBLOCKED|EXECABORT)\b/;
const HEALING_FAILURE =
  /Connection is closed|max retries per request|Command timed out|ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|Stream isn't writeable|Socket closed/i;

/** What ioredis or BullMQ threw, as ours: `backend_unavailable` for what may heal, else `internal`. */
export function redisError(error: unknown): TrivecError {
  if (error instanceof TrivecError) return error;
  const message = error instanceof Error ? error.message : String(error);
  // Of several addresses that all refuse the error has no message.
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  if (/OOM command not allowed/.test(message)) {
    return new TrivecError('backend_unavailable', 'Redis is full: it has reached its maxmemory.', {
      retryAfterSeconds: 10,
      cause: error,
    });
  }
  if (HEALING_REPLY.test(message) || HEALING_FAILURE.test(`${code} ${message}`)) {
    // The code for the client: addresses inside the deployment are in the log, with the cause.
    return new TrivecError('backend_unavailable', `Redis does not answer: ${code ?? message}`, {
      retryAfterSeconds: 2,
      cause: error,
    });
  }
  return new TrivecError('internal', `Redis: ${message}`, { cause: error });
}

function withoutCredentials(url: string): string {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname === '/' ? '' : pathname}`;
}

function delay(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs).unref());
}
