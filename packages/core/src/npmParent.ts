/** Of package.json: the scripts that run until they are stopped. */
const SERVER_SCRIPTS = ['start', 'api', 'worker'];
const LOOK_EVERY_MS = 500;

/** Whether `npm start`, `npm run api` or `npm run worker` of this project started the process that has `env`. Pure. */
export function isRunByNpm(env: Readonly<Record<string, string | undefined>>): boolean {
  return env.npm_package_name === 'trivec' && SERVER_SCRIPTS.includes(env.npm_lifecycle_event ?? '');
}

/**
 * Calls `gone` once the process that started this one has ended. npm passes a SIGTERM on to the shell that it runs a
 * script with, and dash ends without passing it on. Holds no process open; returns what stops the watch. On
 * Windows, which never gives a process another parent, `gone` is not called.
 */
export function watchParent(gone: () => void): () => void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    gone();
  }, LOOK_EVERY_MS);
  timer.unref();
  return () => clearInterval(timer);
}
