import { Type } from 'typebox';
import { count, option } from './option.ts';

/** Of every process. */
export const PROCESS_OPTIONS = {
  logLevel: option(
    'LOG_LEVEL',
    Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
    'info',
    'fatal, error, warn, info, debug, trace or silent. Lines are JSON; at a terminal they are short, and from debug on have all their fields.',
  ),
  apiKey: option(
    'TRIVEC_API_KEY',
    Type.String({ pattern: '^[!-~]{1,256}$' }),
    undefined,
    'The key that the command line sends to a server with keys; without it, to the server of the same configuration, one of API_KEYS.',
    { secret: true },
  ),
  shutdownTimeoutMs: option(
    'SHUTDOWN_TIMEOUT_MS',
    count(0),
    30_000,
    'How long a stop waits for requests in flight.',
  ),
} as const;
