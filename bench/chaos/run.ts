import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openBackend } from '@trivec/core/backend/open';
import { loadConfig } from '@trivec/core/config';
import { Resources } from '@trivec/core/shutdown';
import { openStorage } from '@trivec/core/storage/open';
import { createLogger } from '@trivec/core/telemetry/logger';
import { Redis } from 'ioredis';
import { type CheckDeps, type CheckedJob, checkAll, checkLeftovers } from './check.ts';
import { removeCollections } from './checkQdrant.ts';
import { PatientClient } from './client.ts';
import { makeCorpus } from './corpus.ts';
import { type Cast, type Kill, planKills } from './plan.ts';
import { freePort, type Kept, keep, keepSupervised, nodeProgram, redisProgram } from './processes.ts';
import { type ChaosQdrant, type QdrantChoice, startQdrant } from './qdrant.ts';

const MODEL = fileURLToPath(new URL('../../test/golden/models/tiny-m3', import.meta.url));

export interface ChaosOptions {
  backend: 'redis' | 'embedded';
  seed: number;
  documents: number;
  kills: number;
  minGapMs: number;
  maxGapMs: number;
  maxDownMs: number;
  /** Where the jobs also send their vectors. */
  qdrant?: QdrantChoice;
  /** The whole run is given up after this. */
  timeoutMs: number;
  log: (line: string) => void;
}

export interface ChaosReport {
  undisturbedMs: number;
  disturbedMs: number;
  kills: (Kill & { atMs: number; job: string; done: number })[];
  retries: number;
  /** Requests to Qdrant that were refused or lost, and connections that were broken, by kind. */
  faults: ChaosQdrant['met'];
  jobs: CheckedJob[];
  leftovers: string[];
  /** Processes that ended by themselves, and how. */
  unasked: string[];
  /** Processes that did not end in order when asked to. */
  stuck: string[];
  /** The end of every process's output. */
  logs: { name: string; text: string }[];
}

/**
 * The same corpus twice and more: as a job that nobody disturbs, then as jobs during which processes are
 * killed, until the plan is through. Everything lies in a temporary folder.
 */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const folder = await mkdtemp(join(tmpdir(), 'trivec-chaos-'));
  const kept: Kept[] = [];
  const qdrant = options.qdrant && (await startQdrant(options.qdrant, folder, options.seed));
  try {
    return await runIn(folder, kept, options, qdrant);
  } finally {
    await Promise.all(kept.map((process) => process.stop()));
    await qdrant?.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function runIn(
  folder: string,
  kept: Kept[],
  options: ChaosOptions,
  qdrant: ChaosQdrant | undefined,
): Promise<ChaosReport> {
  const { backend, seed, documents, log } = options;
  const prefix = `chaos-${seed}-${Date.now()}-`;
  const corpus = makeCorpus(seed, documents);
  const deadlineMs = Date.now() + options.timeoutMs;
  const [port, redisPort] = [await freePort(), await freePort()];
  const redisUrl = `redis://127.0.0.1:${redisPort}`;
  const env = {
    DATA_DIR: join(folder, 'data'),
    BACKEND_URL: backend === 'redis' ? redisUrl : 'embedded',
    PORT: String(port),
    MODEL,
    DEVICE: 'cpu',
    INTRA_OP_THREADS: '1',
    // Small shards and batches, so that a kill meets many of them in every state.
    SHARD_MAX_DOCUMENTS: '32',
    MAX_BATCH_TOKENS: '64',
    LOCK_DURATION_MS: '3000',
    RECONCILE_INTERVAL_MS: '1000',
    SHUTDOWN_TIMEOUT_MS: '5000',
    LOG_LEVEL: 'info',
    ...qdrant?.env,
  };
  await mkdir(env.DATA_DIR, { recursive: true });
  const cast = startCast(folder, kept, { backend, env, redisPort });
  if (qdrant?.kept !== undefined) {
    kept.push(qdrant.kept);
    cast.qdrant = 1;
  }
  const optionsOf = (round: number) => jobOptions(qdrant && prefix, round);
  const client = new PatientClient(`http://127.0.0.1:${port}`, deadlineMs);
  await client.untilReady();

  const startedAtMs = Date.now();
  const ids = [await client.submit(corpus.ndjson, `chaos-${seed}-undisturbed`, optionsOf(0))];
  await client.ended(ids[0]!);
  const undisturbedMs = Date.now() - startedAtMs;
  log(`undisturbed: ${documents} documents in ${(undisturbedMs / 1000).toFixed(1)} s`);

  const chaosAtMs = Date.now();
  qdrant?.arm(true);
  const killer = new Killer(kept, planKills({ ...options, cast }), log);
  const killing = killer.run();
  let rounds = 0;
  try {
    do {
      killer.job = `job ${++rounds}`;
      const id = await client.submit(corpus.ndjson, `chaos-${seed}-${rounds}`, optionsOf(rounds));
      ids.push(id);
      await client.ended(id);
    } while (!killer.done);
  } finally {
    killer.giveUp();
    await killing;
  }
  const disturbedMs = Date.now() - chaosAtMs;
  log(`disturbed: ${rounds} job(s) in ${(disturbedMs / 1000).toFixed(1)} s, ${killer.kills.length} kills`);

  if (qdrant !== undefined) {
    qdrant.arm(false);
    await sleep(STALLED_MS);
  }
  const servers = kept.filter(({ role }) => role !== 'redis' && role !== 'qdrant');
  const codes = await Promise.all(servers.map((process) => process.stop()));
  const stuck = codes.flatMap((code, i) => (code === 0 ? [] : [`${nameOf(servers[i]!)}: ${code}`]));
  const { jobs, leftovers } = await check(env, corpus, ids, qdrant && { url: qdrant.url, prefix });
  if (qdrant !== undefined) await removeCollections(qdrant.url, prefix);
  return {
    undisturbedMs,
    disturbedMs,
    kills: killer.kills,
    retries: client.retries,
    faults: qdrant?.met ?? {},
    jobs,
    leftovers,
    unasked: kept.flatMap((process) => process.unasked.map((how) => `${nameOf(process)}: ${how}`)),
    stuck,
    logs: kept.map((process) => ({ name: nameOf(process), text: process.log() })),
  };
}

/**
 * Every other job, the undisturbed one first, replaces what was built under one name before. Chunks, so that a document
 * is several points.
 */
function jobOptions(prefix: string | undefined, round: number): Record<string, string> {
  if (prefix === undefined) return { outputs: 'dense' };
  const replaces = round < 2 || round % 2 === 1;
  const collection = replaces ? `${prefix}replaced` : `${prefix}${round}`;
  return {
    outputs: 'dense,sparse,colbert',
    'chunking.maxTokens': '24',
    destination: JSON.stringify({ type: 'qdrant', collection, ifExists: replaces ? 'replace' : 'upsert' }),
  };
}

interface Scene {
  backend: ChaosOptions['backend'];
  env: NodeJS.ProcessEnv & { DATA_DIR: string };
  redisPort: number;
}

function startCast(folder: string, kept: Kept[], { backend, env, redisPort }: Scene): Cast {
  if (backend === 'embedded') {
    kept.push(keepSupervised(env.DATA_DIR, env, folder));
    return { server: 1 };
  }
  kept.push(
    keep({ role: 'redis', index: 0, cwd: folder, ...redisProgram(folder, redisPort) }),
    keep({ role: 'api', index: 0, cwd: folder, env, ...nodeProgram('apps/api/src/main.ts') }),
    keep({ role: 'worker', index: 0, cwd: folder, env, ...nodeProgram('apps/worker/src/main.ts') }),
    keep({ role: 'worker', index: 1, cwd: folder, env, ...nodeProgram('apps/worker/src/main.ts') }),
  );
  return { redis: 1, api: 1, worker: 2 };
}

/** What a dead worker held comes again after its lock and the next look for such, and is dropped: another wrote it. */
const STALLED_MS = 8_000;

/** Carries the plan out. */
class Killer {
  readonly kills: ChaosReport['kills'] = [];
  job = '';
  private readonly kept: readonly Kept[];
  private readonly plan: readonly Kill[];
  private readonly log: (line: string) => void;
  private readonly stopping = new AbortController();

  constructor(kept: readonly Kept[], plan: readonly Kill[], log: (line: string) => void) {
    this.kept = kept;
    this.plan = plan;
    this.log = log;
  }

  get done(): boolean {
    return this.kills.length === this.plan.length;
  }

  giveUp(): void {
    this.stopping.abort();
  }

  async run(): Promise<void> {
    const startedAtMs = Date.now();
    const restarts: Promise<void>[] = [];
    for (const [index, kill] of this.plan.entries()) {
      await sleep(kill.afterMs, undefined, { signal: this.stopping.signal }).catch(() => undefined);
      if (this.stopping.signal.aborted) break;
      const target = this.kept.find(({ role, index: i }) => role === kill.role && i === kill.index)!;
      this.kills.push({ ...kill, atMs: Date.now() - startedAtMs, job: this.job, done: index + 1 });
      this.log(
        `kill ${index + 1}/${this.plan.length}: ${nameOf(target)}, down ${kill.downMs} ms (${this.job})`,
      );
      restarts.push(target.kill(kill.downMs));
    }
    await Promise.all(restarts);
  }
}

async function check(
  env: NodeJS.ProcessEnv,
  corpus: Parameters<typeof checkAll>[1],
  ids: readonly string[],
  destination: CheckDeps['destination'],
) {
  const config = loadConfig(env);
  const logger = createLogger({ logLevel: 'silent' });
  const resources = new Resources();
  try {
    const backend = resources.add(await openBackend(config, logger));
    const storage = resources.add(await openStorage(config));
    let redis: Redis | undefined;
    if (config.backendUrl !== 'embedded') {
      redis = new Redis(config.backendUrl);
      resources.add({ close: async () => redis?.disconnect() });
    }
    const deps = {
      backend,
      storage,
      config,
      logger,
      ...(redis && { redis }),
      ...(destination && { destination }),
    };
    const jobs = await checkAll(deps, corpus, ids);
    return { jobs, leftovers: await checkLeftovers(deps, ids) };
  } finally {
    await resources.close();
  }
}

function nameOf({ role, index }: Pick<Kept, 'role' | 'index'>): string {
  return role === 'worker' ? `worker ${index + 1}` : role;
}
