import { TrivecError } from '../errors.ts';
import type {
  IngestEvent,
  JobEvent,
  PauseEvent,
  Refusal,
  RetryEvent,
  ShardEvent,
  ShardStored,
  ShardWritten,
  SinkEvent,
  Transition,
} from './jobEvents.ts';
import { interrupted, noteShard, type ProgressSample } from './progress.ts';
import {
  isWritten,
  type JobRecord,
  type JobStatus,
  type ShardRecord,
  type SinkCounts,
  type SinkState,
} from './records.ts';
import { applyWebhook, withOutbox } from './webhook.ts';

/** How many of its failed documents a job record shows. */
export const SHOWN_ERRORS = 10;

const ENDED: readonly JobStatus[] = ['completed', 'failed', 'cancelled'];

export function isEnded(job: Pick<JobRecord, 'status'>): boolean {
  return ENDED.includes(job.status);
}

/**
 * What becomes of a job when something happens to it, as pure decisions. The caller reads the records, asks here, and
 * writes the answer by compare-and-set on the job's version: whoever comes second reads again and asks again. So each
 * shard is counted once, the job closes once, and cancel and close can't both win.
 *
 *   queued ─start→ running ─last shard→ completed | failed (nothing succeeded)
 *   queued, running ─pause→ paused ─resume→ queued, running
 *   queued, running, paused ─cancel→ cancelled
 *   completed, failed ─retry→ running (failed documents, in shards of their own)
 *   completed, failed, cancelled ─ingest→ running (what is stored is written to another destination)
 *   shard: pending ─stored→ stored ─written→ written (only with a destination)
 */
export function applyToJob(job: JobRecord, event: JobEvent, nowMs: number): Transition {
  return told(job, decideJob(job, event, nowMs), nowMs);
}

/** Whatever ends a job puts its webhook into the outbox with the same write. */
function told(before: JobRecord, transition: Transition, nowMs: number): Transition {
  if (!transition.ok) return transition;
  return { ...transition, job: withOutbox(before.status, transition.job, nowMs) };
}

function decideJob(job: JobRecord, event: JobEvent, nowMs: number): Transition {
  if (event.type === 'webhook') {
    const next = applyWebhook(job, event, nowMs);
    return next === undefined ? refuse('not_due') : changed(next);
  }
  if (event.type === 'ingest') return ingest(job, event, nowMs);
  if (event.type === 'retry') return retry(job, event);
  // Also of a cancelled job: what was put off there must be restored.
  if (event.type === 'sinkFinished') return finishSink(job, event, nowMs);
  if (isEnded(job)) return refuseEnded(job);
  switch (event.type) {
    case 'start':
      if (job.status === 'paused') return refuse('paused');
      if (job.status === 'running') return refuse('already_running');
      return changed({ ...job, status: 'running', startedAtMs: job.startedAtMs ?? nowMs });
    case 'pause':
      return pause(job, event);
    case 'resume':
      if (job.status !== 'paused') return refuse('not_paused');
      if (event.reason !== undefined && event.reason !== job.pausedReason) return refuse('not_paused');
      return changed({
        ...anew(withoutReason(job)),
        status: job.startedAtMs === undefined ? 'queued' : 'running',
      });
    case 'cancel':
      return changed({ ...withoutReason(inOrder(job)), status: 'cancelled', finishedAtMs: nowMs });
    case 'sinkDeferred':
      if (job.sink?.indexing !== 'toDefer') return refuse('no_sink');
      if (job.sink.run !== event.run) return refuse('other_run');
      return changed({ ...job, sink: { ...job.sink, indexing: 'deferred', hnswM: event.hnswM } });
    case 'sinkReplaces': {
      if (job.sink === undefined || job.sink.finished) return refuse('no_sink');
      if (job.sink.run !== event.run) return refuse('other_run');
      const replaced = [...new Set([...(job.sink.replaced ?? []), event.collection])];
      return changed({ ...job, sink: { ...job.sink, replaced } });
    }
    case 'sinkWaits':
      return waitForSink(job, event, nowMs);
  }
}

/** The first of a row says since when. */
function waitForSink(
  job: JobRecord,
  { run, reason }: Extract<SinkEvent, { type: 'sinkWaits' }>,
  nowMs: number,
): Transition {
  if (job.sink === undefined) return refuse('no_sink');
  if (job.sink.run !== run) return refuse('other_run');
  if (job.sink.waiting?.reason === reason) return refuse('already_waiting');
  const sinceMs = job.sink.waiting?.sinceMs ?? nowMs;
  return changed({ ...job, sink: { ...job.sink, waiting: { reason, sinceMs } } });
}

/** Where nothing was put off or built aside, a cancelled job leaves nothing to do. */
function inOrder(job: JobRecord): JobRecord {
  if (job.sink === undefined || job.sink.alias !== undefined || job.sink.indexing !== 'asIs') return job;
  return { ...job, sink: { ...noLongerWaiting(job.sink), finished: true } };
}

function noLongerWaiting({ waiting: _, ...sink }: SinkState): SinkState {
  return sink;
}

/** What a client pauses stays paused, also when the system had paused it before. */
function pause(job: JobRecord, { reason }: PauseEvent): Transition {
  if (job.status !== 'paused')
    return changed({
      ...job,
      status: 'paused',
      ...(reason !== undefined && { pausedReason: reason }),
    });
  if (reason !== undefined || job.pausedReason === undefined) return refuse('already_paused');
  return changed(withoutReason(job));
}

function withoutReason({ pausedReason: _, ...job }: JobRecord): JobRecord {
  return job;
}

/** Its speed from now on is measured from now on. */
function anew(job: JobRecord): JobRecord {
  return job.progress === undefined ? job : { ...job, progress: interrupted(job.progress) };
}

/** The failed stay counted as failed until they succeed. */
function retry(job: JobRecord, { added, changed: before, errors }: RetryEvent): Transition {
  if (job.status === 'cancelled') return refuse('cancelled');
  if (!isEnded(job)) return refuse('not_ended');
  const { finishedAtMs: _, ...rest } = anew(job);
  const textBytes = added.reduce((sum, shard) => sum + shard.textBytes, 0);
  const next: JobRecord = {
    ...rest,
    status: 'running',
    shards: { ...job.shards, total: job.shards.total + added.length },
    textBytes: { ...job.textBytes, total: job.textBytes.total + textBytes },
    errors: [...errors],
  };
  return changed(next, [...before, ...added]);
}

/** Writing begins anew, for what is stored. An earlier destination must have been put in order. */
function ingest(job: JobRecord, { destination, sink }: IngestEvent, nowMs: number): Transition {
  if (!isEnded(job)) return refuse('not_ended');
  if (job.shards.stored < job.shards.total) return refuse('nothing_stored');
  if (job.counts.embedded === 0) return refuse('nothing_stored');
  if (job.sink?.finished === false) return refuse('sink_open');
  const { finishedAtMs: _, ...rest } = anew(job);
  return changed({
    ...rest,
    status: 'running',
    startedAtMs: job.startedAtMs ?? nowMs,
    options: { ...job.options, destination },
    counts: { ...job.counts, written: 0 },
    shards: { ...job.shards, written: 0 },
    sink: { ...sink, run: (job.sink?.run ?? 0) + 1 },
  });
}

function finishSink(
  job: JobRecord,
  { run, error, moved }: Extract<SinkEvent, { type: 'sinkFinished' }>,
  nowMs: number,
): Transition {
  if (job.sink === undefined || job.sink.finished) return refuse('no_sink');
  if (job.sink.run !== run) return refuse('other_run');
  const next: JobRecord = {
    ...job,
    sink: { ...noLongerWaiting(job.sink), finished: true, ...(moved !== undefined && { moved }) },
    errors: [...(error ? [error] : []), ...job.errors].slice(0, SHOWN_ERRORS),
  };
  return changed(isEnded(job) ? next : closeIfDone(next, nowMs));
}

/** A paused job takes what was already running when it was paused. */
export function applyToShard(
  job: JobRecord,
  shard: ShardRecord,
  event: ShardEvent,
  nowMs: number,
): Transition {
  if (isEnded(job)) return refuseEnded(job);
  const transition =
    event.type === 'shardStored'
      ? storeShard(job, shard, event, nowMs)
      : writeShard(job, shard, event, nowMs);
  return told(job, transition, nowMs);
}

function storeShard(job: JobRecord, shard: ShardRecord, event: ShardStored, nowMs: number): Transition {
  if (shard.state !== 'pending') return refuse('already_stored');
  const { embedded, failed } = event.counts;
  if (embedded + failed !== shard.documents)
    throw new TrivecError(
      'internal',
      `Shard ${shard.ordinal} has ${shard.documents} documents, but ${embedded} + ${failed} were counted.`,
    );
  const hasNothingToWrite = awaitsWriting(job) && embedded === 0;
  const { errorsKey: _, ...rest } = shard;
  const stored: ShardRecord = {
    ...rest,
    state: hasNothingToWrite ? 'written' : 'stored',
    counts: { embedded, failed },
    rows: event.rows,
    tokens: event.tokens,
    ...(event.resultKey !== undefined && { resultKey: event.resultKey }),
    ...(event.errorsKey !== undefined && { errorsKey: event.errorsKey }),
    ...(hasNothingToWrite && job.sink !== undefined && { writtenRun: job.sink.run }),
  };
  const next: JobRecord = {
    ...job,
    counts: {
      ...job.counts,
      embedded: job.counts.embedded + embedded,
      failed: job.counts.failed + failed - (shard.isRetry === true ? shard.documents : 0),
    },
    tokens: job.tokens + event.tokens,
    truncated: job.truncated + event.truncated,
    textBytes: { ...job.textBytes, done: job.textBytes.done + shard.textBytes },
    shards: {
      ...job.shards,
      stored: job.shards.stored + 1,
      written: job.shards.written + (hasNothingToWrite ? 1 : 0),
    },
    errors: [...job.errors, ...event.errors].slice(0, SHOWN_ERRORS),
    startedAtMs: job.startedAtMs ?? nowMs,
  };
  return changed(closeIfDone(noted(job, next, event, nowMs), nowMs), [stored]);
}

function writeShard(job: JobRecord, shard: ShardRecord, event: ShardWritten, nowMs: number): Transition {
  if (shard.state === 'pending') return refuse('not_stored');
  if (event.run !== (job.sink?.run ?? 1)) return refuse('other_run');
  if (isWritten(job, shard)) return refuse('already_written');
  const next: JobRecord = {
    ...job,
    counts: { ...job.counts, written: job.counts.written + event.documents },
    shards: { ...job.shards, written: job.shards.written + 1 },
    errors: [...job.errors, ...(event.errors ?? [])].slice(0, SHOWN_ERRORS),
    ...(job.sink && {
      sink: { ...noLongerWaiting(job.sink), counts: addCounts(job.sink.counts, event.counts) },
    }),
  };
  const written: ShardRecord = {
    ...shard,
    state: 'written',
    ...(job.sink && { writtenRun: job.sink.run }),
    ...(event.errorsKey !== undefined && { errorsKey: event.errorsKey }),
  };
  return changed(closeIfDone(noted(job, next, event, nowMs), nowMs), [written]);
}

/** With what the end of a shard says of the job's speed. */
function noted(before: JobRecord, after: JobRecord, { type, tookMs }: ShardEvent, nowMs: number): JobRecord {
  const sampleOf = ({ tokens, textBytes, shards }: JobRecord): ProgressSample => ({
    atMs: nowMs,
    tokens,
    textBytes: textBytes.done,
    written: shards.written,
  });
  const ended = { was: sampleOf(before), after: sampleOf(after), tookMs, isEmbedded: type === 'shardStored' };
  return { ...after, progress: noteShard(before.progress, ended) };
}

function addCounts(sum: SinkCounts, more: SinkCounts | undefined): SinkCounts {
  if (more === undefined) return sum;
  const keys = Object.keys(sum) as (keyof SinkCounts)[];
  return Object.fromEntries(keys.map((key) => [key, sum[key] + more[key]])) as unknown as SinkCounts;
}

function awaitsWriting(job: JobRecord): boolean {
  return job.options.destination !== undefined;
}

function closeIfDone(job: JobRecord, nowMs: number): JobRecord {
  const done = awaitsWriting(job) ? job.shards.written : job.shards.stored;
  if (done < job.shards.total || job.sink?.finished === false) return job;
  const succeeded = job.sink === undefined ? job.counts.embedded : job.counts.written;
  return { ...withoutReason(job), status: succeeded === 0 ? 'failed' : 'completed', finishedAtMs: nowMs };
}

function changed(job: JobRecord, shards: readonly ShardRecord[] = []): Transition {
  return { ok: true, job, shards };
}

function refuse(reason: Refusal): Transition {
  return { ok: false, reason };
}

function refuseEnded(job: JobRecord): Transition {
  return refuse(job.status === 'cancelled' ? 'cancelled' : 'ended');
}
