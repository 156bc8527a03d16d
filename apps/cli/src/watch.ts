import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from './apiError.ts';
import type { JobView } from './apiTypes.ts';
import type { TrivecClient } from './client.ts';
import { formatCount, formatDuration, shorten } from './format.ts';
import { openProgress, type ProgressOptions, showDocuments } from './progress.ts';

const ENDED: readonly JobView['status'][] = ['completed', 'failed', 'cancelled'];
/** A server that is being restarted is back within this time. */
const PATIENCE_MS = 60_000;
const MAX_REASON_CHARS = 80;

export interface WatchOptions {
  signal?: AbortSignal;
  pollMs?: number;
  progress?: Pick<ProgressOptions, 'stream' | 'lineIntervalMs'>;
}

export function hasEnded(job: JobView): boolean {
  return ENDED.includes(job.status);
}

/** Shows the job until it ends; resolves with its last state. A server that is away for a minute is waited for. */
export async function watchJob(
  client: TrivecClient,
  id: string,
  options: WatchOptions = {},
): Promise<JobView> {
  const { signal, pollMs = 500 } = options;
  const abort = signal === undefined ? {} : { signal };
  let job = await client.job(id, abort);
  const progress = openProgress({
    label: 'embedding',
    show: showDocuments(job.counts.documents),
    total: job.counts.documents,
    ...options.progress,
  });
  let answeredAtMs = performance.now();
  const show = (state: JobView) => {
    job = state;
    progress.update(job.counts.embedded + job.counts.failed, describe(job));
  };
  try {
    show(job);
    if (!hasEnded(job)) await follow(client, id, show, abort);
    // What events did not tell is asked for.
    while (!hasEnded(job)) {
      await sleep(pollMs, undefined, abort);
      try {
        show(await client.job(id, abort));
        answeredAtMs = performance.now();
      } catch (error) {
        const away = error instanceof ApiError && (error.status === 0 || error.status === 503);
        if (!away || performance.now() - answeredAtMs > PATIENCE_MS) throw error;
      }
    }
    return job;
  } finally {
    progress.stop();
  }
}

/** Shows the job as the server sends it. Returns when the job has ended, or the stream for whatever reason. */
async function follow(
  client: TrivecClient,
  id: string,
  show: (job: JobView) => void,
  options: { signal?: AbortSignal },
): Promise<void> {
  try {
    for await (const job of client.events(id, options)) show(job);
  } catch (error) {
    if (options.signal?.aborted) throw error;
  }
}

/** Rate and time left, or the state where there is none. */
export function describe(job: JobView): string {
  const rate = job.tokensPerSecond === null ? '' : `${formatCount(job.tokensPerSecond)} tokens/s`;
  const failed = job.counts.failed > 0 ? `${formatCount(job.counts.failed)} failed` : '';
  const left = job.etaSeconds === null ? '' : `${formatDuration(job.etaSeconds)} left`;
  const state = job.status === 'running' ? left : job.status;
  const waits = job.waitingFor === 'worker' ? 'waits for a worker' : '';
  const sinkWaits = job.sink?.waiting
    ? `waits for Qdrant: ${shorten(job.sink.waiting.reason, MAX_REASON_CHARS)}`
    : '';
  return [rate, failed, state, waits, sinkWaits].filter((part) => part !== '').join(' · ');
}
