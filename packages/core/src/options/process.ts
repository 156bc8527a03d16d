import { Type } from 'typebox';
import { count, option } from './option.ts';

/** Of every process. */
export const PROCESS_OPTIONS = {
  logLevel: option(
    'LOG_LEVEL',
    Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
    'info',
    'fatal, error, warn, info, debug, trace or silent.',
  ),
  shutdownTimeoutMs: option(
    'SHUTDOWN_TIMEOUT_MS',
    count(0),
    30_000,
    'How long a stop waits for requests in flight.',
  ),
} as const;
