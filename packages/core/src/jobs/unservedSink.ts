import type { StartingWorker, WorkerAnnouncement } from '../registry/workerRegistry.ts';
import type { JobRecord } from './records.ts';
import { isEnded } from './stateMachine.ts';

/** Whether results lie there that only wait for somebody to take them to the destination. */
export function awaitsSink(job: JobRecord): boolean {
  if (job.sink === undefined || job.status === 'paused' || isEnded(job)) return false;
  return (
    job.shards.written < job.shards.stored || (job.shards.written === job.shards.total && !job.sink.finished)
  );
}

type Serving = Pick<WorkerAnnouncement, 'destinations'>;

/** Whether a worker takes a job's results to its destination. */
export function isSinkServed({ options }: Pick<JobRecord, 'options'>, workers: readonly Serving[]): boolean {
  const name = options.destination?.target ?? '';
  // One that does not say serves what it says by its queue: it is of an older version.
  return workers.some(({ destinations }) => destinations?.includes(name) ?? true);
}

/** Why nobody takes a job's results to its destination, where no worker does. */
export function unservedReason(
  job: Pick<JobRecord, 'options'>,
  workers: readonly Serving[],
  starting: readonly StartingWorker[],
): string {
  if (isSinkServed(job, starting)) return 'A worker starts: its models are downloaded or loaded.';
  if (workers.length === 0) return 'No worker runs.';
  const name = job.options.destination?.target;
  return name === undefined
    ? 'No worker has a Qdrant server: set QDRANT_URL there, or cancel the job.'
    : `No worker has the Qdrant server ${JSON.stringify(name)}: name it in QDRANT_TARGETS again, or cancel the job.`;
}
