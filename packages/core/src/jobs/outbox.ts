import type { Logger } from '../telemetry/logger.ts';
import type { WebhookSender } from '../webhooks/sender.ts';
import { jobView } from './jobView.ts';
import type { Ledger } from './ledger.ts';
import type { JobRecord } from './records.ts';
import { MAX_ATTEMPTS } from './webhook.ts';

export interface OutboxDeps {
  ledger: Ledger;
  sender: Pick<WebhookSender, 'send'>;
  logger: Logger;
}

const MAX_DELIVERIES = 16;
const MAX_DELIVERIES_OF_ONE = 4;

const BECOMES = { pending: '; it is tried again', failed: '; it is given up', delivered: '' } as const;

interface Receiver {
  /** The end that each job has to tell, by job. No more than there are ended jobs that have not told it. */
  waiting: Map<string, number>;
  running: number;
}

/**
 * Delivers what ended jobs have to tell. Receivers (an origin each) take turns and have a share of their own, so that
 * one that is slow or away holds up little but itself.
 */
export class Outbox {
  private readonly deps: OutboxDeps;
  private readonly receivers = new Map<string, Receiver>();
  /** By job. */
  private readonly running = new Map<string, Promise<void>>();
  private readonly closing = new AbortController();

  constructor(deps: OutboxDeps) {
    this.deps = deps;
  }

  /** Begins a delivery that is due, or lets it wait for its turn; does not wait for it. */
  offer({ id, webhook }: JobRecord, nowMs: number): void {
    const delivery = webhook?.delivery;
    if (delivery?.state !== 'pending' || delivery.nextAtMs > nowMs || this.closing.signal.aborted) return;
    if (this.running.has(id)) return;
    const { origin } = new URL(webhook!.url);
    const receiver = this.receivers.get(origin) ?? { waiting: new Map(), running: 0 };
    this.receivers.set(origin, receiver);
    receiver.waiting.set(id, webhook!.closings);
    this.beginOne(origin, receiver);
  }

  /** Resolves when nothing waits or is under way. */
  async settle(): Promise<void> {
    while (this.running.size > 0) await Promise.all(this.running.values());
  }

  /** Gives up what is under way: it counts as failed and is repeated. Idempotent. */
  async close(): Promise<void> {
    this.closing.abort();
    this.receivers.clear();
    await this.settle();
  }

  private beginOne(origin: string, receiver: Receiver): void {
    const [next] = receiver.waiting;
    if (next === undefined || receiver.running >= MAX_DELIVERIES_OF_ONE) return;
    if (this.running.size >= MAX_DELIVERIES) return;
    const [id, closing] = next;
    receiver.waiting.delete(id);
    receiver.running++;
    const run = this.deliver(id, closing)
      .catch((error: unknown) => {
        this.deps.logger.warn(
          { err: error, jobId: id },
          'a webhook delivery was not recorded; it is repeated',
        );
      })
      .finally(() => {
        this.running.delete(id);
        receiver.running--;
        this.passOn(origin, receiver);
      });
    this.running.set(id, run);
  }

  /** Gives the room that a delivery has left to who waits the longest. */
  private passOn(origin: string, receiver: Receiver): void {
    if (this.closing.signal.aborted) return;
    this.receivers.delete(origin);
    if (receiver.waiting.size > 0 || receiver.running > 0) this.receivers.set(origin, receiver);
    for (const [other, waiter] of this.receivers) this.beginOne(other, waiter);
  }

  private async deliver(id: string, closing: number): Promise<void> {
    const { ledger, sender, logger } = this.deps;
    const begun = await ledger.applyToJob(id, { type: 'webhook', closing, outcome: 'begun' });
    if (!begun.ok) return;
    const { job } = begun;
    const nowMs = Date.now();
    const timestamp = new Date(job.finishedAtMs ?? nowMs).toISOString();
    const body = JSON.stringify({ type: `job.${job.status}`, timestamp, data: jobView(job, nowMs) });
    const { url, secret } = job.webhook!;
    try {
      await sender.send({ url, secret, id: `${id}.${closing}`, body }, this.closing.signal);
      await ledger.applyToJob(id, { type: 'webhook', closing, outcome: 'delivered' });
      logger.info({ jobId: id }, 'webhook delivered');
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const noted = await ledger.applyToJob(id, {
        type: 'webhook',
        closing,
        outcome: 'failed',
        error: reason,
      });
      const after = noted.ok ? noted.job.webhook?.delivery : undefined;
      logger.warn(
        {
          jobId: id,
          reason,
          attempt: job.webhook?.delivery?.attempts,
          maxAttempts: MAX_ATTEMPTS,
          ...(after?.state === 'pending' && { nextAt: new Date(after.nextAtMs).toISOString() }),
        },
        `webhook not delivered${after === undefined ? '' : BECOMES[after.state]}`,
      );
    }
  }
}
