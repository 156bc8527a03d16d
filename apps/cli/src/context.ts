import type { Config } from '@trivec/core/config';
import type { Connection } from './connect.ts';
import type { NpmCall } from './npmCall.ts';

/** 0 done; 1 failed; 2 wrong usage; 3 done, but some documents failed; 130 interrupted. */
export const EXIT = { done: 0, failed: 1, usage: 2, someFailed: 3, interrupted: 130 } as const;

/** What a command has to work with. Results go to `out`, everything said along the way to `err`. */
export interface CommandContext {
  config: Config;
  out: NodeJS.WriteStream;
  err: NodeJS.WriteStream;
  /** Aborted by the first Ctrl-C. */
  signal: AbortSignal;
  npm?: NpmCall;
  connect(options: CommonOptions): Promise<Connection>;
}

/** Every command has these. */
export interface CommonOptions {
  url?: string;
  /** Sent with every request; else TRIVEC_API_KEY. */
  apiKey?: string;
  /** Look for no server: this process is one. */
  local?: boolean;
  json?: boolean;
}

/** Connects, runs, disconnects. */
export async function withConnection(
  context: CommandContext,
  options: CommonOptions,
  run: (connection: Connection) => Promise<number>,
): Promise<number> {
  const connection = await context.connect(options);
  try {
    return await run(connection);
  } finally {
    await connection.close();
  }
}

export function print(context: CommandContext, text: string): void {
  context.out.write(`${text}\n`);
}

export function say(context: CommandContext, text: string): void {
  context.err.write(`${text}\n`);
}

export function printJson(context: CommandContext, value: unknown): void {
  print(context, JSON.stringify(value, null, 2));
}
