import type { WorkerAnnouncement } from '../registry/workerRegistry.ts';
import type { JobRecord } from './records.ts';
import { isEnded } from './stateMachine.ts';

/** Whether results lie there that only wait for somebody to take them to the destination. */
export function awaitsSink(job: JobRecord): boolean {
  if (job.sink === undefined || job.status === 'paused' || isEnded(job)) return false;
  return (
    job.shards.written < job.shards.stored || (job.shards.written === job.shards.total && !job.sink.finished)
  );
}

/** Why nobody takes a job's results to its destination; undefined where a worker does. */
export function unservedReason(
  { options }: Pick<JobRecord, 'options'>,
  workers: readonly Pick<WorkerAnnouncement, 'destinations'>[],
): string | undefined {
  const name = options.destination?.target;
  if (workers.length === 0) return 'No worker runs.';
  // One that does not say serves what it says by its queue: it is of an older version.
  if (workers.some(({ destinations }) => destinations?.includes(name ?? '') ?? true)) return undefined;
  return name === undefined
    ? 'No worker has a Qdrant server: set QDRANT_URL there, or cancel the job.'
    : `No worker has the Qdrant server ${JSON.stringify(name)}: name it in QDRANT_TARGETS again, or cancel the job.`;
}
