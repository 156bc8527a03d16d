import type { Calibration } from '../engine/calibrate.ts';
import type { BatchCost } from '../engine/costModel.ts';
import type { ErrorCode } from '../errors.ts';
import type { ModelInfo } from '../models/modelInfo.ts';

/** What a worker says of itself, again every few seconds; it is forgotten when it stops saying so. */
export interface WorkerAnnouncement {
  workerId: string;
  model: ModelInfo;
  device: string;
  /** Padded tokens of one batch. */
  maxBatchTokens: number;
  /** Tokens that a text of a job is cut to, where that is less than the model's own. */
  maxBulkTokens?: number | undefined;
  /** How the budget was found, and what a batch takes: fixedMs + msPerToken · tokens + msPerPair · count · length². */
  calibration?: { from: Calibration['from']; cost: BatchCost } | undefined;
  /** Measured while it last worked; 0 before. */
  tokensPerSecond: number;
  startedAtMs: number;
  /** Servers that it takes results to: names of QDRANT_TARGETS, and the empty one for that of QDRANT_URL. */
  destinations?: readonly string[];
  /** Models that this worker was told to serve and could not load. */
  failedModels?: readonly FailedModel[];
}

export interface FailedModel {
  /** As configured. */
  name: string;
  code: ErrorCode;
  message: string;
}

/** A worker whose models are still downloaded or loaded, which may take minutes. */
export interface StartingWorker {
  workerId: string;
  /** As in a `WorkerAnnouncement`. */
  destinations: readonly string[];
}

export interface WorkerRegistry {
  /** Registers and keeps saying so until `close` of what it returns. `read` is called at each heartbeat. */
  announce(read: () => WorkerAnnouncement): Promise<{ close(): Promise<void> }>;
  /** The workers alive now. */
  list(): Promise<WorkerAnnouncement[]>;
  /** Registers a worker that is on its way, until `close` of what it returns. */
  announceStart(worker: StartingWorker): Promise<{ close(): Promise<void> }>;
  /** The workers on their way now. */
  listStarting(): Promise<StartingWorker[]>;
  close(): Promise<void>;
}
