import type { Config } from '@trivec/core/config';
import { TrivecError } from '@trivec/core/errors';
import { createLogger } from '@trivec/core/telemetry/logger';
import { CommanderError } from 'commander';
import { ApiError } from './apiError.ts';
import { connect } from './connect.ts';
import { type CommandContext, EXIT } from './context.ts';
import { onInterrupt } from './interrupt.ts';
import { type NpmCall, swallowedDryRun } from './npmCall.ts';
import { buildProgram } from './program.ts';

export interface RunDeps {
  readConfig: () => Config;
  npm?: NpmCall;
  out: NodeJS.WriteStream;
  err: NodeJS.WriteStream;
}

/** One command line, from arguments to exit code. Errors become one line on `err`. */
export async function run(args: readonly string[], deps: RunDeps): Promise<number> {
  const swallowed = swallowedDryRun(args, deps.npm);
  if (swallowed !== undefined) {
    deps.err.write(`trivec: ${swallowed}\n`);
    return EXIT.usage;
  }
  const interrupt = onInterrupt();
  try {
    const config = deps.readConfig();
    const context: CommandContext = {
      config,
      out: deps.out,
      err: deps.err,
      signal: interrupt.signal,
      ...(deps.npm !== undefined && { npm: deps.npm }),
      connect: ({ url, local, apiKey }) =>
        connect({
          config,
          url,
          local,
          apiKey: apiKey ?? config.apiKey,
          log: (line) => deps.err.write(`${line}\n`),
          startServer: startServer(deps.err),
        }),
    };
    let exitCode: number = EXIT.done;
    const program = buildProgram(context, (code) => {
      exitCode = code;
    });
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    deps.err.write(`${errorLine(error, interrupt.signal.aborted)}\n`);
    return exitCodeOf(error, interrupt.signal.aborted);
  } finally {
    interrupt.release();
  }
}

/** `trivec: message (code, param)`: what a person needs to act on, on one line. */
export function errorLine(error: unknown, aborted: boolean): string {
  if (error instanceof ApiError && error.code === 'interrupted') return error.message;
  if (aborted) return 'Interrupted.';
  if (error instanceof ApiError) {
    const at = error.requestId === undefined ? '' : `, request ${error.requestId}`;
    return `trivec: ${error.message} (${[error.code, error.param].filter(Boolean).join(', ')}${at})`;
  }
  if (error instanceof TrivecError) {
    return `trivec: ${error.message} (${[error.code, error.param].filter(Boolean).join(', ')})`;
  }
  return `trivec: ${error instanceof Error ? error.message : String(error)}`;
}

function exitCodeOf(error: unknown, aborted: boolean): number {
  if (aborted) return EXIT.interrupted;
  return error instanceof TrivecError && error.code === 'invalid_config' ? EXIT.usage : EXIT.failed;
}

/** Loaded only where it is needed: it brings the model's runtime along. */
function startServer(err: NodeJS.WriteStream) {
  return async (config: Config) => {
    const { startStandalone } = await import('@trivec/standalone/server');
    // What a server tells its operator is noise in a command, warnings aside.
    const logLevel = config.logLevel === 'info' ? 'warn' : config.logLevel;
    return startStandalone({ ...config, logLevel }, createLogger({ logLevel }, err));
  };
}
