/** The share of a job's time that a real engine's device stands still, and how much of it Qdrant is to blame for. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openBackend } from '@trivec/core/backend/open';
import { loadConfig } from '@trivec/core/config';
import type { Device } from '@trivec/core/engine/device';
import { startOn } from '@trivec/core/engine/engine';
import { InferenceSession } from '@trivec/core/engine/inferenceSession';
import { JobService } from '@trivec/core/jobs/jobService';
import { describeModelFolder } from '@trivec/core/models/folder';
import { loadTokenizer } from '@trivec/core/models/tokenizer';
import { Resources } from '@trivec/core/shutdown';
import { openQdrant } from '@trivec/core/sinks/qdrant/open';
import { openStorage } from '@trivec/core/storage/open';
import { createLogger } from '@trivec/core/telemetry/logger';
import { createMetrics } from '@trivec/core/telemetry/metrics';
import { startWorker } from '../apps/worker/src/worker.ts';
import { makeCorpus } from './chaos/corpus.ts';
import { TcpProxy } from './tcpProxy.ts';

const MINI = fileURLToPath(new URL('../models/mini/', import.meta.url));
const OWNER = 'anonymous';
const VIEWER = { owner: OWNER, admin: true };
const POLL_MS = 20;
/** A cancelled shard is let go within a second. */
const SETTLE_MS = 1500;

/** `none`: a job without a destination. `slow`: each answer comes a second late. `dead`: nobody listens after the job was accepted. */
const STATES = ['none', 'keeps up', 'slow', 'dead'] as const;
export type QdrantState = (typeof STATES)[number];

export interface Standstill {
  state: QdrantState;
  /** Of the time from the first forward pass of the job to the end of the last. */
  idlePercent: number;
  seconds: number;
}

/** Says when the device works. */
class Watch {
  busyMs = 0;
  firstAtMs = 0;
  lastAtMs = 0;

  reset(): void {
    this.busyMs = this.firstAtMs = this.lastAtMs = 0;
  }

  on(device: Device): Device {
    return {
      name: device.name,
      close: () => device.close(),
      run: async (batch, onPassed) => {
        const startedAtMs = performance.now();
        if (this.firstAtMs === 0) this.firstAtMs = startedAtMs;
        let counted = false;
        const passed = () => {
          if (counted) return;
          counted = true;
          this.lastAtMs = performance.now();
          this.busyMs += this.lastAtMs - startedAtMs;
          onPassed?.();
        };
        try {
          return await device.run(batch, passed);
        } finally {
          passed();
        }
      },
    };
  }
}

/** Each state in turn, `rounds` times, while there is time: one engine, one server, jobs of `documents` short texts. */
export async function measureStandstill(
  qdrantUrl: string,
  { documents, rounds, endAtMs }: { documents: number; rounds: number; endAtMs: number },
): Promise<Standstill[]> {
  const folder = await mkdtemp(join(tmpdir(), 'trivec-standstill-'));
  const resources = new Resources();
  resources.add({ close: () => rm(folder, { recursive: true, force: true }) });
  try {
    const proxy = resources.add(await TcpProxy.start(qdrantUrl));
    const config = loadConfig({
      DATA_DIR: folder,
      QDRANT_URL: proxy.url,
      DEVICE: 'cpu',
      INTRA_OP_THREADS: '1',
      LOG_LEVEL: 'silent',
    });
    const logger = createLogger({ logLevel: 'silent' });
    const backend = resources.add(await openBackend(config, logger));
    const storage = resources.add(await openStorage(config));
    const qdrant = resources.add(openQdrant(config)!);
    const service = new JobService({ backend, storage, config, logger, qdrant });
    const model = await describeModelFolder(MINI);
    const watch = new Watch();
    const tokenizer = await loadTokenizer(model.tokenizerFile);
    const session = await InferenceSession.open(model, {
      device: config.device,
      intraOpThreads: config.intraOpThreads,
      allowSpinning: false,
      logger,
    });
    const engine = resources.add(await startOn(watch.on(session), tokenizer, { model, config, logger }));
    const metrics = createMetrics().worker;
    resources.add(await startWorker({ config, backend, storage, engines: [engine], metrics, logger }));
    const corpus = makeCorpus(1, documents);

    const run = async (state: QdrantState): Promise<Standstill> => {
      proxy.answerDelayMs = state === 'slow' ? 1000 : 0;
      watch.reset();
      const startedAtMs = performance.now();
      const { id } = await service.submit({
        source: {
          format: 'array',
          documents: [...corpus.documents].map(([key, { text }]) => ({ id: key, text })),
        },
        options: {
          outputs: ['dense', 'sparse', 'colbert'],
          ...(state !== 'none' && {
            destination: { type: 'qdrant', collection: 'standstill', ifExists: 'replace' },
          }),
        },
        model: engine.model,
        owner: OWNER,
      });
      proxy.dead = state === 'dead';
      for (;;) {
        const job = await service.get(id, VIEWER);
        if (job.shards.stored === job.shards.total) break;
        await sleep(POLL_MS);
      }
      const result = {
        state,
        idlePercent: 100 * (1 - watch.busyMs / (watch.lastAtMs - watch.firstAtMs)),
        seconds: (performance.now() - startedAtMs) / 1000,
      };
      // What is still to be written must not disturb the next one.
      proxy.answerDelayMs = 0;
      proxy.dead = false;
      await service.delete(id, VIEWER);
      await sleep(SETTLE_MS);
      return result;
    };
    await run('none');
    const measured: Standstill[] = [];
    for (let round = 0; round < rounds; round++)
      for (const state of STATES) {
        if (performance.now() > endAtMs) return measured;
        measured.push(await run(state));
      }
    return measured;
  } finally {
    await resources.close();
  }
}

/** Medians; what Qdrant is to blame for is what a job without it does not have. */
export function standstillTable(measured: readonly Standstill[]) {
  const medianOf = (state: QdrantState, value: (one: Standstill) => number) =>
    median(measured.filter((one) => one.state === state).map(value));
  const rest = medianOf('none', ({ idlePercent }) => idlePercent);
  return STATES.map((state) => {
    const idle = medianOf(state, ({ idlePercent }) => idlePercent);
    return {
      Qdrant: state,
      rounds: measured.filter((one) => one.state === state).length,
      'embedded in seconds': round(medianOf(state, ({ seconds }) => seconds)),
      'device idle %': round(idle),
      'because of Qdrant %': state === 'none' ? '' : round(Math.max(0, idle - rest)),
      goal: state === 'keeps up' ? '< 2 %' : '',
    };
  });
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
