#!/usr/bin/env node
import { loadConfig, readEnvironment } from '@trivec/core/config';
import { run } from './run.ts';

process.exitCode = await run(process.argv.slice(2), {
  readConfig: () => loadConfig(readEnvironment()),
  out: process.stdout,
  err: process.stderr,
});
