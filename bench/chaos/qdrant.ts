import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { QdrantDouble } from '../../test/support/qdrantDouble.ts';
import { FaultyProxy } from './faults.ts';
import { freePort, type Kept, keep } from './processes.ts';

export type QdrantChoice =
  /** The tests' own, which keeps its points while it is away. */
  | { kind: 'double' }
  /** A program that is started, and killed like the others. */
  | { kind: 'binary'; path: string }
  /** One that runs already: it only meets faults. */
  | { kind: 'url'; url: string };

export interface ChaosQdrant {
  /** Without faults, for the check. */
  url: string;
  proxy: FaultyProxy;
  /** What may be killed. */
  kept?: Kept;
  close(): Promise<void>;
}

/** What a request may take; a late one takes longer. */
export const QDRANT_TIMEOUT_MS = 2_000;

export async function startQdrant(choice: QdrantChoice, folder: string, seed: number): Promise<ChaosQdrant> {
  const { url, kept } = await begin(choice, folder);
  const proxy = await FaultyProxy.start(url, { seed, lateMs: QDRANT_TIMEOUT_MS + 1_000 });
  return {
    url,
    proxy,
    ...(kept && { kept }),
    close: async () => {
      await proxy.close();
      await kept?.stop();
    },
  };
}

async function begin(choice: QdrantChoice, folder: string): Promise<{ url: string; kept?: Kept }> {
  if (choice.kind === 'url') return { url: choice.url };
  if (choice.kind === 'double') return keepDouble();
  const [port, grpcPort] = [await freePort(), await freePort()];
  const cwd = join(folder, 'qdrant');
  mkdirSync(cwd, { recursive: true });
  const env = {
    QDRANT__SERVICE__HOST: '127.0.0.1',
    QDRANT__SERVICE__HTTP_PORT: String(port),
    QDRANT__SERVICE__GRPC_PORT: String(grpcPort),
    QDRANT__STORAGE__STORAGE_PATH: join(cwd, 'storage'),
    QDRANT__STORAGE__SNAPSHOTS_PATH: join(cwd, 'snapshots'),
    QDRANT__TELEMETRY_DISABLED: 'true',
  };
  const url = `http://127.0.0.1:${port}`;
  const kept = keep({ role: 'qdrant', index: 0, file: choice.path, args: [], env, cwd });
  await answers(url);
  return { url, kept };
}

const START_TIMEOUT_MS = 30_000;

async function answers(url: string): Promise<void> {
  for (const deadlineMs = Date.now() + START_TIMEOUT_MS; ; await sleep(100)) {
    const ready = await fetch(`${url}/readyz`).catch(() => undefined);
    if (ready?.ok) return;
    if (Date.now() > deadlineMs) throw new Error(`Qdrant does not answer at ${url}.`);
  }
}

async function keepDouble(): Promise<{ url: string; kept: Kept }> {
  const double = await QdrantDouble.start();
  let away = Promise.resolve();
  const kept: Kept = {
    role: 'qdrant',
    index: 0,
    unasked: [],
    log: () => `the double: ${double.requests.length} requests\n`,
    kill: (downMs) => {
      away = away.then(async () => {
        await double.down();
        await sleep(downMs);
        await double.up();
      });
      return away;
    },
    stop: async () => {
      await away;
      await double.close();
      return 0;
    },
  };
  return { url: double.url, kept };
}
