import type { Redis } from 'ioredis';
import type { LedgerStore } from '../ledger/ledgerStore.ts';
import type { ShardPointer, WorkQueue } from '../queue/workQueue.ts';
import type { WorkerRegistry } from '../registry/workerRegistry.ts';
import type { InteractiveLane } from '../replies/interactiveLane.ts';

/** Where queues, ledger, replies and registry live: one machine's folder, or a Redis that many share. */
export interface Backend {
  readonly kind: 'embedded' | 'redis';
  readonly ledger: LedgerStore;
  readonly registry: WorkerRegistry;
  readonly interactive: InteractiveLane;
  /** Where the processes that share a Redis may also count together. */
  readonly redis?: Redis;
  /** The bulk queue of one fingerprint. The same object for the same fingerprint. */
  shardQueue(fingerprint: string): WorkQueue<ShardPointer>;
  /** Stored shards on their way to a destination, of all models: they need no device. One queue a `target`. */
  sinkQueue(target?: string): WorkQueue<ShardPointer>;
  /**
   * For what one of all processes is enough for: true for whoever asks first, and for nobody else until `forMs` have
   * passed. Throws `backend_unavailable`.
   */
  claim(what: string, forMs: number): Promise<boolean>;
  /** Throws `backend_unavailable` when it does not answer. */
  ping(): Promise<void>;
  /** Closes what it opened, in reverse order. Idempotent. */
  close(): Promise<void>;
}
