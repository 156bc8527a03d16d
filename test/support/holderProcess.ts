import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { until } from './gate.ts';

export interface Holder {
  pid: number;
  /** Lines it has written so far. */
  lines: readonly string[];
  kill9(): Promise<void>;
}

/** Starts `backendHolder.ts` with this environment; resolves when it is ready. */
export async function startHolder(env: Readonly<Record<string, string>>): Promise<Holder> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('./backendHolder.ts', import.meta.url))], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const lines: string[] = [];
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    lines.push(...chunk.split('\n').filter((line) => line !== ''));
  });
  const kill9 = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  try {
    await until(() => lines.includes('ready') || child.exitCode !== null, 'the holder is ready', 60_000);
    if (child.exitCode !== null) throw new Error(`the holder ended with ${child.exitCode}`);
  } catch (error) {
    await kill9();
    throw error;
  }
  return { pid: child.pid!, lines, kill9 };
}
