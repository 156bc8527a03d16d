import type { Backend } from '@trivec/core/backend/backend';
import type { Config } from '@trivec/core/config';
import type { Engine } from '@trivec/core/engine/types';
import type { JobTexts } from '@trivec/core/jobs/jobTexts';
import type { LedgerStore } from '@trivec/core/ledger/ledgerStore';
import type { FailedModel } from '@trivec/core/registry/workerRegistry';
import type { BlobStore } from '@trivec/core/storage/blobStore';
import type { WorkerMetrics } from '@trivec/core/telemetry/metrics';
import type { Logger } from 'pino';
import type { SinkLaneDeps } from './sinkLane.ts';

export interface WorkerDeps {
  config: Pick<Config, 'prefetchShards' | 'shardMaxBytes' | 'maxDocumentResultBytes' | 'jobTextCacheMb'> &
    SinkLaneDeps['config'];
  backend: Backend;
  storage: BlobStore;
  engines: readonly Engine[];
  /** Told to others with every announcement. */
  failedModels?: readonly FailedModel[];
  metrics: WorkerMetrics;
  logger: Logger;
}

/** What a lane of one engine is served from. */
export interface LaneDeps extends Omit<WorkerDeps, 'engines'> {
  engine: Engine;
  ledger: LedgerStore;
  texts: JobTexts;
}
