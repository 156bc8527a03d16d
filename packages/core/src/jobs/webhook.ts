import { TrivecError } from '../errors.ts';
import type { JobRecord, JobStatus, WebhookState } from './records.ts';

/** As a client gave it; never trusted. */
export interface RequestedWebhook {
  url: string;
  /** Standard Webhooks: `whsec_` and 24 to 64 bytes in base64; the prefix may be missing. */
  secret: string;
}

const MAX_URL_CHARS = 2048;
const SECRET_BYTES = { min: 24, max: 64 };
const MINUTE_MS = 60_000;
/** After each attempt, until the next. Each is longer than an attempt may take, so that no two overlap. */
const DELAYS_MS = [
  MINUTE_MS / 2,
  2 * MINUTE_MS,
  10 * MINUTE_MS,
  30 * MINUTE_MS,
  120 * MINUTE_MS,
  360 * MINUTE_MS,
];
export const MAX_ATTEMPTS = DELAYS_MS.length + 1;

/** Throws `invalid_request`, naming the field and never the secret. */
export function resolveWebhook({ url, secret }: RequestedWebhook): WebhookState {
  if (url.length > MAX_URL_CHARS) throw invalid('url', `has more than ${MAX_URL_CHARS} characters`);
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw invalid('url', 'is not a URL');
  }
  if (parsed.protocol !== 'https:' && parsed.protocol !== 'http:')
    throw invalid('url', 'must begin with https:// or http://');
  if (parsed.username !== '' || parsed.password !== '')
    throw invalid('url', 'must hold no user and no password');
  const base64 = secret.replace(/^whsec_/, '');
  const bytes = Buffer.from(base64, 'base64');
  const isBase64 = bytes.toString('base64').replace(/=+$/, '') === base64.replace(/=+$/, '');
  if (!isBase64 || bytes.length < SECRET_BYTES.min || bytes.length > SECRET_BYTES.max)
    throw invalid('secret', `must be ${SECRET_BYTES.min} to ${SECRET_BYTES.max} bytes in base64 (whsec_…)`);
  return { url: parsed.href, secret: base64, closings: 0 };
}

function invalid(field: keyof RequestedWebhook, reason: string): TrivecError {
  return new TrivecError('invalid_request', `webhook.${field} ${reason}.`, { param: `webhook.${field}` });
}

/** The outbox: what a job that has just ended has to tell, written with its end. */
export function withOutbox(before: JobStatus, job: JobRecord, nowMs: number): JobRecord {
  if (job.webhook === undefined || before === job.status) return job;
  if (job.status !== 'completed' && job.status !== 'failed' && job.status !== 'cancelled') return job;
  const closings = job.webhook.closings + 1;
  const delivery = { state: 'pending', attempts: 0, nextAtMs: nowMs } as const;
  return { ...job, webhook: { ...job.webhook, closings, delivery } };
}

export interface WebhookEvent {
  type: 'webhook';
  /** Which end of the job was told. One that was retried ends again. */
  closing: number;
  outcome: 'begun' | 'delivered' | 'failed';
  /** Of a failure; holds nothing of the secret. */
  error?: string;
}

/** An attempt is noted before it is made, with the time of the next, so that no other process makes it, too. */
export function applyWebhook(job: JobRecord, event: WebhookEvent, nowMs: number): JobRecord | undefined {
  const { webhook } = job;
  if (webhook?.delivery === undefined || webhook.delivery.state !== 'pending') return undefined;
  if (webhook.closings !== event.closing) return undefined;
  const { delivery } = webhook;
  const set = (changes: Partial<typeof delivery>): JobRecord => ({
    ...job,
    webhook: { ...webhook, delivery: { ...delivery, ...changes } },
  });
  if (event.outcome === 'begun') {
    if (delivery.nextAtMs > nowMs) return undefined;
    const delayMs = DELAYS_MS[Math.min(delivery.attempts, DELAYS_MS.length - 1)]!;
    return set({ attempts: delivery.attempts + 1, nextAtMs: nowMs + delayMs });
  }
  if (event.outcome === 'delivered') return set({ state: 'delivered' });
  return set({
    ...(event.error !== undefined && { error: event.error }),
    ...(delivery.attempts >= MAX_ATTEMPTS && { state: 'failed' as const }),
  });
}
