import { isRunByNpm } from '@trivec/core/npmParent';
import { processSettings } from '@trivec/core/processSettings';
import { supervise } from './supervisor.ts';
import { STARTING, STOPPED } from './welcome.ts';

/** What `npm start` runs: the server in a process of its own, started again when it crashes. */
if (process.stderr.isTTY) process.stderr.write(STARTING);
process.exitCode = await supervise(new URL('./serverProcess.ts', import.meta.url), {
  settings: processSettings(process.env, process.execArgv),
  endsWithParent: isRunByNpm(process.env),
});
if (process.stderr.isTTY && process.exitCode === 0) process.stderr.write(STOPPED);
