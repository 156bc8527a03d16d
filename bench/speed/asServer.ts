/** Benches of a model alone run in a process like a server's: what glibc does with large arrays is set at its start. */
import { spawnSync } from 'node:child_process';
import { processSettings } from '@trivec/core/processSettings';

/** Runs this script again in such a process and ends with its exit code, unless this is one. */
export function runAsServer(): void {
  const { env, execArgv } = processSettings(process.env, process.execArgv);
  if (env.GLIBC_TUNABLES === process.env.GLIBC_TUNABLES) return;
  const args = [...process.execArgv, ...execArgv, ...process.argv.slice(1)];
  const { status } = spawnSync(process.execPath, args, { env, stdio: 'inherit' });
  process.exit(status ?? 1);
}
