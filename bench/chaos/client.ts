import { setTimeout as sleep } from 'node:timers/promises';
import type { JobView } from '@trivec/core/jobs/serviceTypes';

const RETRY_MS = 250;

/** A client that takes no failure for an answer: it repeats until the deadline, with the same idempotency key. */
export class PatientClient {
  private readonly url: string;
  private readonly deadlineMs: number;
  /** Attempts that failed because the server was away or said to come again. */
  retries = 0;

  constructor(url: string, deadlineMs: number) {
    this.url = url;
    this.deadlineMs = deadlineMs;
  }

  async untilReady(): Promise<void> {
    await this.request('/health/ready');
  }

  /** `options` are the job's, as query parameters. */
  async submit(ndjson: Buffer, idempotencyKey: string, options: Record<string, string>): Promise<string> {
    const response = await this.request(`/jobs?${new URLSearchParams(options)}`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson', 'idempotency-key': idempotencyKey },
      body: ndjson,
    });
    return ((await response.json()) as { id: string }).id;
  }

  async job(id: string): Promise<JobView> {
    return (await (await this.request(`/jobs/${id}`)).json()) as JobView;
  }

  async ended(id: string): Promise<JobView> {
    for (;;) {
      const job = await this.job(id);
      if (['completed', 'failed', 'cancelled'].includes(job.status)) return job;
      await sleep(RETRY_MS);
    }
  }

  private async request(path: string, init: RequestInit = {}): Promise<Response> {
    for (;;) {
      let failure: unknown;
      try {
        const response = await fetch(`${this.url}${path}`, { ...init, signal: AbortSignal.timeout(60_000) });
        if (response.ok) return response;
        failure = new Error(`${response.status} ${await response.text()}`);
        if (response.status < 500 && response.status !== 429) throw new FinalAnswer(String(failure));
      } catch (error) {
        if (error instanceof FinalAnswer) throw error;
        failure = error;
      }
      if (Date.now() > this.deadlineMs) throw new Error(`${path}: out of time; last ${String(failure)}`);
      this.retries++;
      await sleep(RETRY_MS);
    }
  }
}

/** An answer that another attempt would only get again. */
class FinalAnswer extends Error {}
