import type { Logger } from '../telemetry/logger.ts';
import type { WebhookSender } from '../webhooks/sender.ts';
import { jobView } from './jobView.ts';
import type { Ledger } from './ledger.ts';
import type { JobRecord } from './records.ts';

export interface OutboxDeps {
  ledger: Ledger;
  sender: Pick<WebhookSender, 'send'>;
  logger: Logger;
}

const DELIVERIES_AT_ONCE = 8;

/** Delivers what ended jobs have to tell. A receiver that is slow or away holds up nobody but itself. */
export class Outbox {
  private readonly deps: OutboxDeps;
  private readonly running = new Map<string, Promise<void>>();
  private readonly closing = new AbortController();

  constructor(deps: OutboxDeps) {
    this.deps = deps;
  }

  /** Begins a delivery that is due; does not wait for it. */
  offer(job: JobRecord, nowMs: number): void {
    const delivery = job.webhook?.delivery;
    if (delivery?.state !== 'pending' || delivery.nextAtMs > nowMs || this.closing.signal.aborted) return;
    if (this.running.size >= DELIVERIES_AT_ONCE || this.running.has(job.id)) return;
    const run = this.deliver(job)
      .catch((error: unknown) => {
        this.deps.logger.warn(
          { err: error, jobId: job.id },
          'a webhook delivery was not recorded; it is repeated',
        );
      })
      .finally(() => this.running.delete(job.id));
    this.running.set(job.id, run);
  }

  /** Resolves when nothing is under way. */
  async settle(): Promise<void> {
    await Promise.all(this.running.values());
  }

  /** Gives up what is under way: it counts as failed and is repeated. Idempotent. */
  async close(): Promise<void> {
    this.closing.abort();
    await this.settle();
  }

  private async deliver({ id, webhook }: JobRecord): Promise<void> {
    const { ledger, sender, logger } = this.deps;
    const closing = webhook!.closings;
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
      await ledger.applyToJob(id, { type: 'webhook', closing, outcome: 'failed', error: reason });
      logger.warn({ jobId: id, reason }, 'webhook not delivered');
    }
  }
}
