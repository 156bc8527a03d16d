#!/usr/bin/env node
import { loadConfig, misspeltOptions, readEnvironment } from '@trivec/core/config';
import { run } from './run.ts';

// `trivec results ID | head` closes the pipe early; that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

for (const line of misspeltOptions()) process.stderr.write(`trivec: ${line}\n`);
process.exitCode = await run(process.argv.slice(2), {
  readConfig: () => loadConfig(readEnvironment()),
  npm: { script: process.env.npm_lifecycle_event, dryRun: process.env.npm_config_dry_run === 'true' },
  out: process.stdout,
  err: process.stderr,
});
