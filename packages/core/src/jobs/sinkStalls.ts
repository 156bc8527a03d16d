import type { Ledger } from './ledger.ts';
import type { JobRecord } from './records.ts';

/** The job says that its destination stalls while a request is still being tried, which may be for minutes. */
export class SinkStalls {
  readonly #ledger: Ledger;
  readonly #job: JobRecord;
  #noted: Promise<unknown> = Promise.resolve();

  constructor(ledger: Ledger, job: JobRecord) {
    this.#ledger = ledger;
    this.#job = job;
  }

  add(reason: string): void {
    const { id, sink } = this.#job;
    if (sink === undefined) return;
    this.#noted = this.#noted
      .then(() => this.#ledger.applyToJob(id, { type: 'sinkWaits', run: sink.run, reason }))
      // Only a word on the way: what the shard ends with is recorded, or tried again.
      .catch(() => undefined);
  }

  /** To be awaited before anything is recorded that takes a note back. */
  async settled(): Promise<void> {
    await this.#noted;
  }
}
