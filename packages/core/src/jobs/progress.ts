import type { JobRecord } from './records.ts';

/** How far a job had come at a moment: totals. */
export interface ProgressSample {
  atMs: number;
  tokens: number;
  textBytes: number;
  /** Shards at the destination; 0 for a job without one. */
  written: number;
}

/** What a job's speed is made from; kept with its record. */
export interface Progress {
  /** Of the recent past, oldest first: a handful. */
  samples: readonly ProgressSample[];
  /** How long the last shard took: as long again, and no news are none. */
  shardMs: number;
  /** Time that was spent on embedding: pauses, and when nobody worked on the job, are none of it. */
  embeddingMs: number;
  /** When the last shard was embedded, since the job was paused last. */
  embeddedAtMs?: number;
}

/** The speed is that of the last minute; of longer, where shards take longer. */
const WINDOW_MS = 60_000;
/** Of each stretch of this length the last sample is kept, so that a record holds few. */
const SLOT_MS = 10_000;
/** A shard that takes so many times as long as the one before may still be on its way. */
const PATIENCE = 3;

/** Before the first sample, a pause, or a retry. */
export const NO_PROGRESS: Progress = { samples: [], shardMs: 0, embeddingMs: 0 };

/** Where a job goes on after a pause: what was before says nothing of the speed from now on. */
export function interrupted({ embeddingMs }: Progress): Progress {
  return { samples: [], shardMs: 0, embeddingMs };
}

/**
 * A shard has just ended (`after` counts it) on which somebody worked for `tookMs`. Where nobody had worked on the job
 * for a minute before that, the measurement begins anew with this shard: so downtime is no part of the speed.
 */
export function noteShard(
  before: Progress | undefined,
  ended: { was: ProgressSample; after: ProgressSample; tookMs: number; isEmbedded: boolean },
): Progress {
  const { was, after, isEmbedded } = ended;
  const tookMs = Math.max(0, ended.tookMs);
  const { samples, embeddingMs, embeddedAtMs } = before ?? NO_PROGRESS;
  const nowMs = after.atMs;
  const begunAtMs = nowMs - tookMs;
  const isNew = samples.length === 0 || begunAtMs - samples.at(-1)!.atMs > WINDOW_MS;
  const base = isNew ? [{ ...was, atMs: begunAtMs }] : samples;
  const sinceLastMs =
    embeddedAtMs === undefined || begunAtMs - embeddedAtMs > WINDOW_MS ? tookMs : nowMs - embeddedAtMs;
  return {
    samples: recent([...thinned(base, nowMs), after]),
    shardMs: tookMs,
    embeddingMs: embeddingMs + (isEmbedded ? Math.max(0, sinceLastMs) : 0),
    ...(isEmbedded ? { embeddedAtMs: nowMs } : embeddedAtMs !== undefined && { embeddedAtMs }),
  };
}

/** Without the last, where the next is of the same slot. */
function thinned(samples: readonly ProgressSample[], nowMs: number): readonly ProgressSample[] {
  const slotOf = (ms: number) => Math.floor(ms / SLOT_MS);
  const isSame = samples.length > 1 && slotOf(samples.at(-1)!.atMs) === slotOf(nowMs);
  return isSame ? samples.slice(0, -1) : samples;
}

/** Those of the window, and the last one before it. */
function recent(samples: readonly ProgressSample[]): readonly ProgressSample[] {
  const fromMs = samples.at(-1)!.atMs - WINDOW_MS;
  const first = samples.findLastIndex(({ atMs }) => atMs <= fromMs);
  return samples.slice(Math.max(0, first));
}

/** Units a second. */
interface Rates {
  tokens: number;
  textBytes: number;
  written: number;
}

/** Undefined where nothing has come to an end recently. */
function recentRates({ samples, shardMs }: Progress, nowMs: number): Rates | undefined {
  const [first] = samples;
  const last = samples.at(-1);
  if (first === undefined || last === undefined || last.atMs <= first.atMs) return undefined;
  if (nowMs - last.atMs > Math.max(WINDOW_MS, PATIENCE * shardMs)) return undefined;
  const seconds = (last.atMs - first.atMs) / 1000;
  return {
    tokens: (last.tokens - first.tokens) / seconds,
    textBytes: (last.textBytes - first.textBytes) / seconds,
    written: (last.written - first.written) / seconds,
  };
}

/**
 * Tokens a second: while texts are embedded, of the recent past; when all are, on the average of the time that was spent on
 * it. Null where nothing moves: the job waits, is paused, or nobody works on it.
 */
export function tokensPerSecond(job: JobRecord, nowMs: number): number | null {
  const progress = job.progress ?? NO_PROGRESS;
  if (isEmbedded(job) || job.finishedAtMs !== undefined)
    return progress.embeddingMs > 0 ? rounded((job.tokens / progress.embeddingMs) * 1000) : null;
  if (job.status !== 'running') return null;
  const rate = recentRates(progress, nowMs)?.tokens ?? 0;
  return rate > 0 ? rounded(rate) : null;
}

function rounded(rate: number): number {
  return Math.round(rate * 10) / 10;
}

/**
 * Seconds left at the recent speed: until all is embedded, or written, whichever takes longer. 0 for an ended job, null
 * where one of the two has no speed now.
 */
export function etaSeconds(job: JobRecord, nowMs: number): number | null {
  if (job.finishedAtMs !== undefined) return 0;
  const rates = job.status === 'running' ? recentRates(job.progress ?? NO_PROGRESS, nowMs) : undefined;
  if (rates === undefined) return null;
  const { textBytes, shards } = job;
  const left = [
    secondsFor(isEmbedded(job) ? 0 : textBytes.total - textBytes.done, rates.textBytes),
    job.sink === undefined ? 0 : secondsFor(shards.total - shards.written, rates.written),
  ];
  const seconds = Math.max(...left);
  return Number.isFinite(seconds) ? Math.ceil(seconds) : null;
}

function secondsFor(amount: number, rate: number): number {
  return amount === 0 ? 0 : amount / rate;
}

/** Nothing is left to embed. */
export function isEmbedded({ shards }: Pick<JobRecord, 'shards'>): boolean {
  return shards.stored >= shards.total;
}
