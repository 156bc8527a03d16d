/** trivec as a user starts it, in processes of its own on data that go with it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { processSettings } from '@trivec/core/processSettings';
import { freePort, nodeProgram, redisProgram } from '../chaos/processes.ts';

export const BACKENDS = ['embedded', 'redis'] as const;
export type BackendName = (typeof BACKENDS)[number];

/** Of one process, as it last wrote it. */
export interface ProcessFigures {
  pid: number;
  program: string;
  rssBytes: number;
  /** Of them, the heaps of V8 in all threads; the others are native: arrays, the model, code. */
  v8Bytes: number;
  cpuMs: number;
  /** Of the main thread, since the last reset. */
  loopDelayP99Ms: number;
  loopDelayMaxMs: number;
}

export interface Service {
  url: string;
  backendUrl: string;
  /** What `GET /info` says of the engines: budget of a batch, its cost, rate. */
  engines(): Promise<unknown[]>;
  /** Of the Node processes, by program. */
  processes(): Promise<ProcessFigures[]>;
  /** What is measured from now on: the delays since. */
  resetDelays(): Promise<void>;
  stop(): Promise<void>;
}

export interface ServiceOptions {
  backend: BackendName;
  env: Record<string, string>;
  /** Node's own flags for the server process, which then runs without its supervisor (embedded only). */
  nodeFlags?: readonly string[];
  /** On Redis: none for a bench that brings its own. */
  workers?: number;
}

const READY_TIMEOUT_MS = 180_000;
const STOP_TIMEOUT_MS = 60_000;
const KEPT_LOG_CHARS = 4000;

interface Program {
  file: string;
  args: readonly string[];
}

/** Rejects with the processes' last lines where it does not get ready. */
export async function startService(options: ServiceOptions): Promise<Service> {
  const folder = await mkdtemp(join(tmpdir(), 'trivec-bench-'));
  const probes = join(folder, 'probes');
  await mkdir(probes);
  const children: { process: ChildProcess; log: () => string }[] = [];
  const [port, redisPort] = [await freePort(), await freePort()];
  const backendUrl = options.backend === 'redis' ? `redis://127.0.0.1:${redisPort}` : 'embedded';
  const settings = processSettings({
    PATH: process.env.PATH,
    DATA_DIR: join(folder, 'data'),
    BACKEND_URL: backendUrl,
    PORT: String(port),
    LOG_LEVEL: 'warn',
    MIN_FREE_BYTES: '0',
    EMBEDDING_CACHE_MB: '0',
    NODE_OPTIONS: `--import=${new URL('./probe.ts', import.meta.url).href}`,
    TRIVEC_BENCH_PROBE: probes,
    ...options.env,
  });
  const launch = ({ file, args }: Program) => {
    const child = spawn(file, args, { cwd: folder, env: settings.env, stdio: ['ignore', 'pipe', 'pipe'] });
    let log = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        log = (log + chunk).slice(-KEPT_LOG_CHARS);
      });
    children.push({ process: child, log: () => log });
  };
  const stop = async () => {
    for (const { process } of children.toReversed()) await end(process);
    await rm(folder, { recursive: true, force: true });
  };
  const url = `http://127.0.0.1:${port}`;
  try {
    if (options.backend === 'redis') launch(redisProgram(folder, redisPort));
    for (const program of programsOf(options))
      launch({ ...program, args: [...settings.execArgv, ...program.args] });
    await untilReady(url, options.workers === 0 ? '/health/live' : '/health/ready', children);
  } catch (error) {
    await stop();
    throw error;
  }
  const processes = async () => {
    const files = await readdir(probes);
    const read = async (name: string) => JSON.parse(await readFile(join(probes, name), 'utf8')) as unknown;
    const found = await Promise.all(
      files
        .filter((name) => name.endsWith('.json'))
        .map(async (name) => {
          const main = (await read(name)) as ProcessFigures;
          const heaps = files.filter((file) => file.startsWith(`${main.pid}-`) && file.endsWith('.heap'));
          const bytes = await Promise.all(heaps.map((file) => read(file).catch(() => 0) as Promise<number>));
          return { ...main, v8Bytes: bytes.reduce((sum, heap) => sum + heap, main.v8Bytes) };
        }),
    );
    return found.sort((a, b) => a.program.localeCompare(b.program) || a.pid - b.pid);
  };
  const resetDelays = async () => {
    for (const { pid } of await processes()) process.kill(pid, 'SIGUSR2');
  };
  const engines = async () => ((await (await fetch(`${url}/info`)).json()) as { engines: unknown[] }).engines;
  return { url, backendUrl, engines, processes, resetDelays, stop };
}

function programsOf({ backend, nodeFlags, workers = 1 }: ServiceOptions): Program[] {
  if (backend === 'embedded') {
    if (nodeFlags === undefined) return [nodeProgram('apps/standalone/src/main.ts')];
    const { file, args } = nodeProgram('apps/standalone/src/serverProcess.ts');
    return [{ file, args: [...nodeFlags, ...args] }];
  }
  return [
    nodeProgram('apps/api/src/main.ts'),
    ...Array.from({ length: workers }, () => nodeProgram('apps/worker/src/main.ts')),
  ];
}

async function untilReady(
  url: string,
  path: string,
  children: readonly { process: ChildProcess; log: () => string }[],
): Promise<void> {
  const endAtMs = performance.now() + READY_TIMEOUT_MS;
  for (;;) {
    const dead = children.find(({ process }) => process.exitCode !== null);
    if (dead !== undefined || performance.now() > endAtMs) {
      const logs = children.map(({ log }) => log()).join('\n');
      throw new Error(`${dead ? 'A process of the server ended' : 'The server is not ready'}:\n${logs}`);
    }
    try {
      if ((await fetch(`${url}${path}`)).ok) return;
    } catch {
      // It does not listen yet.
    }
    await sleep(100);
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}
