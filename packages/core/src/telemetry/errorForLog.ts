import { pino } from 'pino';

export interface LoggedError {
  type: string;
  message: string;
  stack?: string | undefined;
  code?: unknown;
  /** Of an AggregateError. */
  errors?: LoggedError[];
}

/**
 * What a log says of an error: its name, message, stack (with those of its causes) and code. Not the rest of its fields:
 * one of Redis holds the whole command, with the texts, or the webhook's secret, that were to be written.
 */
export function errorForLog(error: unknown): LoggedError {
  if (!(error instanceof Error)) return { type: typeof error, message: String(error) };
  const { type, message, stack } = pino.stdSerializers.err(error);
  const { code } = error as { code?: unknown };
  return {
    type,
    message,
    stack,
    ...(code !== undefined && { code }),
    ...(error instanceof AggregateError && { errors: error.errors.map(errorForLog) }),
  };
}
