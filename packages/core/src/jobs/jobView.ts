import type { JobRecord, WebhookState } from './records.ts';
import type { JobView } from './serviceTypes.ts';
import { isEnded } from './stateMachine.ts';

/** The public face of a job record: the body of `GET /jobs/:id`, and an item of `GET /jobs`. */
export function jobView(job: JobRecord, nowMs: number): JobView {
  const { outputs, ...options } = job.options;
  const self = `/jobs/${job.id}`;
  return {
    id: job.id,
    status: job.status,
    pausedReason: job.pausedReason ?? null,
    counts: { ...job.counts },
    tokens: job.tokens,
    tokensPerSecond: tokensPerSecond(job, nowMs),
    etaSeconds: etaSeconds(job, nowMs),
    createdAt: new Date(job.createdAtMs).toISOString(),
    startedAt: isoOrNull(job.startedAtMs),
    finishedAt: isoOrNull(job.finishedAtMs),
    model: { ...job.model },
    outputs,
    options,
    truncated: job.truncated,
    skipped: job.skipped?.lines ?? 0,
    warnings: warningsOf(job),
    errors: job.errors.map((error) => ({ ...error })),
    sink: job.sink
      ? {
          collection: job.sink.collection,
          finished: job.sink.finished,
          waiting: job.sink.waiting
            ? { reason: job.sink.waiting.reason, since: new Date(job.sink.waiting.sinceMs).toISOString() }
            : null,
          ...job.sink.counts,
        }
      : null,
    webhook: job.webhook ? webhookView(job.webhook) : null,
    links: { self, results: `${self}/results`, errors: `${self}/errors` },
  };
}

/** Field by field: the secret stays where it is. */
function webhookView({ url, delivery }: WebhookState): JobView['webhook'] {
  return {
    url,
    state: delivery?.state ?? null,
    attempts: delivery?.attempts ?? 0,
    error: delivery?.error ?? null,
  };
}

function tokensPerSecond(job: JobRecord, nowMs: number): number | null {
  const elapsedMs = elapsed(job, nowMs);
  if (elapsedMs === undefined || elapsedMs <= 0) return null;
  return Math.round((job.tokens / elapsedMs) * 10_000) / 10;
}

function etaSeconds(job: JobRecord, nowMs: number): number | null {
  if (isEnded(job)) return 0;
  const elapsedMs = elapsed(job, nowMs);
  const { total, done } = job.textBytes;
  if (job.status !== 'running' || elapsedMs === undefined || elapsedMs <= 0 || done === 0) return null;
  return Math.ceil(((total - done) / done) * (elapsedMs / 1000));
}

/** Milliseconds since its start, less those it was paused. */
function elapsed(job: JobRecord, nowMs: number): number | undefined {
  if (job.startedAtMs === undefined) return undefined;
  const endAtMs = job.status === 'paused' ? (job.pausedAtMs ?? nowMs) : (job.finishedAtMs ?? nowMs);
  return endAtMs - job.startedAtMs - (job.pausedMs ?? 0);
}

function warningsOf(job: JobRecord): JobView['warnings'] {
  if (job.truncated === 0) return [];
  const who = job.truncated === 1 ? '1 document was' : `${job.truncated} documents were`;
  const message = `${who} longer than a text may be and got cut: to the length of the model, or to MAX_BULK_TEXT_TOKENS.`;
  return [{ code: 'truncated', message }];
}

function isoOrNull(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
