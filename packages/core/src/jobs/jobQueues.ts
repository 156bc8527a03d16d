import type { Backend } from '../backend/backend.ts';
import type { ShardPointer, WorkQueue } from '../queue/workQueue.ts';
import type { Logger } from '../telemetry/logger.ts';
import { dequeue, enqueuePending, enqueueStored, pendingOrdinals } from './enqueue.ts';
import type { Ledger } from './ledger.ts';
import type { JobRecord } from './records.ts';

/** The shards of a job in and out of the queues. Nothing here throws: the ledger is the truth, and the reconciler heals. */
export class JobQueues {
  private readonly backend: Pick<Backend, 'shardQueue' | 'sinkQueue'>;
  private readonly ledger: Ledger;
  private readonly logger: Logger;

  constructor(backend: Pick<Backend, 'shardQueue' | 'sinkQueue'>, ledger: Ledger, logger: Logger) {
    this.backend = backend;
    this.ledger = ledger;
    this.logger = logger;
  }

  private queue(job: JobRecord): WorkQueue<ShardPointer> {
    return this.backend.shardQueue(job.model.fingerprint);
  }

  /** The job is committed: whatever fails here, the reconciler heals. */
  async enqueue(job: JobRecord): Promise<void> {
    try {
      await enqueuePending(this.ledger, this.queue(job), job);
    } catch (error) {
      this.logger.warn({ err: error, jobId: job.id }, 'enqueueing failed; the reconciler will do it');
    }
  }

  /** To the sink queue, what must go there. The reconciler heals this, too. */
  async passOn(job: JobRecord): Promise<void> {
    try {
      await enqueueStored(this.ledger, (target) => this.backend.sinkQueue(target), job);
    } catch (error) {
      this.logger.warn({ err: error, jobId: job.id }, 'passing on failed; the reconciler will do it');
    }
  }

  /** Only frees room: a worker that takes such a shard asks the ledger and drops it. */
  async dequeue(job: JobRecord): Promise<void> {
    try {
      for await (const ordinals of pendingOrdinals(this.ledger, job.id))
        await dequeue(this.queue(job), job.id, ordinals);
    } catch (error) {
      this.logger.warn({ err: error, jobId: job.id }, 'shards of a stopped job are left in the queue');
    }
  }
}
