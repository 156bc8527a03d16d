import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { QdrantDouble } from '../../test/support/qdrantDouble.ts';
import { QdrantGrpcDouble } from '../../test/support/qdrantGrpcDouble.ts';
import { TcpProxy } from '../tcpProxy.ts';
import { FaultyProxy, tcpFaults } from './faults.ts';
import { seededRandom } from './plan.ts';
import { freePort, type Kept, keep } from './processes.ts';

export type QdrantChoice = (
  | /** The tests' own, which keeps its points while it is away. */
  { kind: 'double' }
  /** A program that is started, and killed like the others. */
  | { kind: 'binary'; path: string }
  /** One that runs already: it only meets faults. */
  | { kind: 'url'; url: string; grpcUrl?: string }
) & {
  /** Points are upserted by gRPC. */
  grpc: boolean;
};

export interface ChaosQdrant {
  /** Without faults, for the check. */
  url: string;
  /** What the processes are told: with faults, while they are armed. */
  env: NodeJS.ProcessEnv;
  arm(armed: boolean): void;
  /** How often each fault was met, by what it met: requests of REST, or bytes of either connection. */
  met: Record<string, number>;
  /** What may be killed. */
  kept?: Kept;
  close(): Promise<void>;
}

interface Begun {
  url: string;
  grpcUrl: string | undefined;
  kept?: Kept;
}

/** What a request may take; a late one takes longer. */
const QDRANT_TIMEOUT_MS = 2_000;
const LATE_MS = QDRANT_TIMEOUT_MS + 1_000;

/**
 * REST goes through a proxy that understands it and refuses requests, and that through one that breaks connections;
 * gRPC, which shares one connection, through one that breaks it.
 */
export async function startQdrant(choice: QdrantChoice, folder: string, seed: number): Promise<ChaosQdrant> {
  const { url, grpcUrl, kept } = await begin(choice, folder);
  const met: Record<string, number> = {};
  let armed = false;
  const count = (what: string) => {
    met[what] = (met[what] ?? 0) + 1;
  };
  const breaking = (upstream: string, name: string, ownSeed: number) => {
    const draw = tcpFaults(seededRandom(ownSeed), {
      lateMs: LATE_MS,
      onFault: (fault) => count(`${name} ${fault}`),
    });
    return TcpProxy.start(upstream, (bytes) => (armed ? draw(bytes) : undefined));
  };
  const refusing = await FaultyProxy.start(url, { seed, lateMs: LATE_MS, onFault: count });
  const rest = await breaking(refusing.url, 'REST', seed + 1);
  const grpc = grpcUrl === undefined ? undefined : await breaking(grpcUrl, 'gRPC', seed + 2);
  return {
    url,
    env: {
      QDRANT_URL: rest.url,
      ...(grpc && { QDRANT_GRPC_URL: grpc.url }),
      QDRANT_TIMEOUT_MS: String(QDRANT_TIMEOUT_MS),
      // Many requests a shard, so that faults meet each kind of them.
      QDRANT_REQUEST_POINTS: '16',
    },
    arm: (now) => {
      armed = refusing.armed = now;
    },
    met,
    ...(kept && { kept }),
    close: async () => {
      await Promise.all([rest.close(), grpc?.close()]);
      await refusing.close();
      await kept?.stop();
    },
  };
}

async function begin(choice: QdrantChoice, folder: string): Promise<Begun> {
  if (choice.kind === 'url') return { url: choice.url, grpcUrl: choice.grpc ? choice.grpcUrl : undefined };
  if (choice.kind === 'double') return keepDouble(choice.grpc);
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
  return { url, grpcUrl: choice.grpc ? `http://127.0.0.1:${grpcPort}` : undefined, kept };
}

const START_TIMEOUT_MS = 30_000;

async function answers(url: string): Promise<void> {
  for (const deadlineMs = Date.now() + START_TIMEOUT_MS; ; await sleep(100)) {
    const ready = await fetch(`${url}/readyz`).catch(() => undefined);
    if (ready?.ok) return;
    if (Date.now() > deadlineMs) throw new Error(`Qdrant does not answer at ${url}.`);
  }
}

async function keepDouble(grpc: boolean): Promise<Begun> {
  const double = await QdrantDouble.start();
  const port = grpc ? await QdrantGrpcDouble.start(double) : undefined;
  let away = Promise.resolve();
  const kept: Kept = {
    role: 'qdrant',
    index: 0,
    unasked: [],
    log: () => `the double: ${double.requests.length} requests\n`,
    kill: (downMs) => {
      away = away.then(async () => {
        await Promise.all([double.down(), port?.down()]);
        await sleep(downMs);
        await Promise.all([double.up(), port?.up()]);
      });
      return away;
    },
    stop: async () => {
      await away;
      await port?.close();
      await double.close();
      return 0;
    },
  };
  return { url: double.url, grpcUrl: port?.url, kept };
}
