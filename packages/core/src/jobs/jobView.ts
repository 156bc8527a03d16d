import { etaSeconds, isEmbedded, tokensPerSecond } from './progress.ts';
import type { JobRecord, WebhookState } from './records.ts';
import type { JobView } from './serviceTypes.ts';

/**
 * The public face of a job record: the body of `GET /jobs/:id`, and an item of `GET /jobs`. `served`: fingerprints of the
 * models that workers serve now; absent where nobody asked.
 */
export function jobView(job: JobRecord, nowMs: number, served?: ReadonlySet<string>): JobView {
  const { outputs, ...options } = job.options;
  const waitsForWorker = isToEmbed(job) && served?.has(job.model.fingerprint) === false;
  const self = `/jobs/${job.id}`;
  return {
    id: job.id,
    status: job.status,
    pausedReason: job.pausedReason ?? null,
    counts: { ...job.counts },
    tokens: job.tokens,
    tokensPerSecond: waitsForWorker ? null : tokensPerSecond(job, nowMs),
    etaSeconds: waitsForWorker ? null : etaSeconds(job, nowMs),
    waitingFor: waitsForWorker ? 'worker' : null,
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

function isToEmbed(job: JobRecord): boolean {
  return (job.status === 'queued' || job.status === 'running') && !isEmbedded(job);
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

function warningsOf(job: JobRecord): JobView['warnings'] {
  const { truncated, sink } = job;
  return [
    ...(truncated > 0 ? [{ code: 'truncated', message: truncatedMessage(truncated) }] : []),
    ...(sink?.moved === undefined ? [] : [{ code: 'collection_moved', message: sink.moved }]),
  ];
}

function truncatedMessage(truncated: number): string {
  const who = truncated === 1 ? '1 document was' : `${truncated} documents were`;
  return `${who} longer than a text may be and got cut: to the length of the model, or to MAX_BULK_TEXT_TOKENS.`;
}

function isoOrNull(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
