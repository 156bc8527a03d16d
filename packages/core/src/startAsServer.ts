/**
 * To be imported before anything else (`npm run api` and `npm run worker` preload it): runs this program anew, in its
 * place and under its number, where the process lacks what it can only be given at its start. An entry, like a main.ts:
 * it reads the process's own environment, and nothing that would have to be loaded twice.
 */
import { isMainThread } from 'node:worker_threads';
import { processSettings } from './processSettings.ts';

const { env, execArgv } = processSettings(process.env, process.execArgv);
const lacks = execArgv.length > 0 || env.GLIBC_TUNABLES !== process.env.GLIBC_TUNABLES;
// Windows has no execve, and no glibc.
if (lacks && isMainThread)
  process.execve?.(
    process.execPath,
    [process.execPath, ...process.execArgv, ...execArgv, ...process.argv.slice(1)],
    env,
  );
