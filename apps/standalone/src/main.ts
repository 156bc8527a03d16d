import { supervise } from './supervisor.ts';

/** What `npm start` runs: the server in a process of its own, started again when it crashes. */
process.exitCode = await supervise(new URL('./serverProcess.ts', import.meta.url));
