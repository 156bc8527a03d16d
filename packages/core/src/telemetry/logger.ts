import { type DestinationStream, type Logger, pino } from 'pino';
import type { Config } from '../config.ts';
import { errorForLog } from './errorForLog.ts';
import { terminalLog } from './terminalLog.ts';

/**
 * Where a text, a vector or a key could slip into a log line by way of a logged object. Two levels deep,
 * because pino's wildcards name one level each.
 */
const SECRET_FIELDS = [
  'text',
  'texts',
  'input',
  'inputs',
  'documents',
  'payload',
  'authorization',
  'cookie',
  'apiKey',
  'api_key',
  'password',
  'secret',
  'token',
];

export type { Logger } from 'pino';

/**
 * JSON lines on `destination` or stdout, lines for people where stdout is a terminal (at `debug` and `trace` with all their
 * fields), at the configured level; texts and keys are replaced by `[redacted]`.
 */
export function createLogger(config: Pick<Config, 'logLevel'>, destination?: DestinationStream): Logger {
  const options = {
    level: config.logLevel,
    base: { pid: process.pid },
    serializers: { err: errorForLog },
    redact: {
      paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]),
      censor: '[redacted]',
    },
  };
  const full = config.logLevel === 'debug' || config.logLevel === 'trace';
  const target = destination ?? (process.stdout.isTTY ? terminalLog(process.stdout, { full }) : undefined);
  return target === undefined ? pino(options) : pino(options, target);
}
