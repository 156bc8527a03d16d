import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Role } from './plan.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const KEPT_LOG_CHARS = 64_000;
const RESTART_DELAY_MS = 300;

/** One process that is started again whenever it ends, until it is told to stop. */
export interface Kept {
  readonly role: Role;
  readonly index: number;
  /** Kill -9, and a new one after `downMs`. Resolves when the new one was started. */
  kill(downMs: number): Promise<void>;
  /** SIGTERM; resolves with the exit code of an orderly end, or null when it had to be killed. */
  stop(): Promise<number | null>;
  /** Its last output, all incarnations. */
  log(): string;
  /** Ends that nobody asked for, as `exit code 1`. */
  readonly unasked: string[];
}

export interface Command {
  role: Role;
  index: number;
  file: string;
  args: readonly string[];
  env?: NodeJS.ProcessEnv;
  cwd: string;
}

const STOP_TIMEOUT_MS = 30_000;

/** Keeps a program running. A crash of its own counts as unasked, and is healed by another start. */
export function keep({ role, index, file, args, env, cwd }: Command): Kept {
  const unasked: string[] = [];
  let log = '';
  let child: ChildProcess;
  let expected = false;
  let stopping = false;

  const start = () => {
    expected = false;
    child = spawn(file, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    const current = child;
    for (const stream of [child.stdout!, child.stderr!])
      stream.on('data', (chunk) => {
        log = (log + chunk).slice(-KEPT_LOG_CHARS);
      });
    child.once('exit', (code, signal) => {
      if (expected || stopping || current !== child) return;
      unasked.push(signal ?? `exit code ${code}`);
      setTimeout(() => {
        if (!stopping && !expected && current === child) start();
      }, RESTART_DELAY_MS);
    });
  };
  const exited = async (process: ChildProcess) => {
    if (process.exitCode === null && process.signalCode === null) await once(process, 'exit');
  };

  const killed = async (downMs: number) => {
    expected = true;
    const current = child;
    current.kill('SIGKILL');
    await exited(current);
    log += `\n--- killed, back in ${downMs} ms ---\n`;
    await sleep(downMs);
    if (!stopping) start();
  };
  // One that is dead still cannot be killed again: two would be started, and fight for the port.
  let dying: Promise<void> | undefined;

  start();
  return {
    role,
    index,
    unasked,
    log: () => log,
    kill: (downMs) => {
      dying ??= killed(downMs).finally(() => {
        dying = undefined;
      });
      return dying;
    },
    stop: async () => {
      stopping = true;
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
      child.kill('SIGTERM');
      await exited(child);
      clearTimeout(timer);
      return child.exitCode;
    },
  };
}

/** The server under its supervisor: killed is the server itself, and the supervisor brings it back. */
export function keepSupervised(dataDir: string, env: NodeJS.ProcessEnv, cwd: string): Kept {
  const entry = join(ROOT, 'bench/chaos/supervisedMain.ts');
  const supervisor = keep({ role: 'server', index: 0, file: process.execPath, args: [entry], env, cwd });
  return {
    ...supervisor,
    kill: async () => {
      const pid = serverPid(dataDir);
      if (pid !== undefined) process.kill(pid, 'SIGKILL');
    },
  };
}

/** Who holds DATA_DIR. Nobody for a moment, while the server is being started. */
function serverPid(dataDir: string): number | undefined {
  try {
    const { pid } = JSON.parse(readFileSync(join(dataDir, 'lock.json'), 'utf8')) as { pid: number };
    process.kill(pid, 0);
    return pid;
  } catch {
    return undefined;
  }
}

export function nodeProgram(path: string): Pick<Command, 'file' | 'args'> {
  return { file: process.execPath, args: [join(ROOT, path)] };
}

export function redisProgram(folder: string, port: number): Pick<Command, 'file' | 'args'> {
  const options = {
    port,
    bind: '127.0.0.1',
    dir: folder,
    save: '',
    appendonly: 'yes',
    appendfsync: 'everysec',
  };
  return {
    file: 'redis-server',
    args: Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]),
  };
}

/** A port that was free a moment ago. The API has to come back on the same one. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
