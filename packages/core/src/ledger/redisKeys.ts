import { digestOfJobId } from './idempotency.ts';

/** Where the ledger's records lie. Those of a job share one slot of a cluster, and so do the indexes. */
export class RedisLedgerKeys {
  readonly #prefix: string;

  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  record(jobId: string): string {
    return `${this.#jobKey(jobId)}:record`;
  }

  shards(jobId: string): string {
    return `${this.#jobKey(jobId)}:shards`;
  }

  notes(jobId: string): string {
    return `${this.#jobKey(jobId)}:notes`;
  }

  /** Which job holds the idempotency key. Without a key, one that never exists. */
  claim(jobId: string): string {
    const digest = digestOfJobId(jobId);
    return digest === undefined ? `${this.#jobKey(jobId)}:job` : this.claimOf(digest);
  }

  list(owner?: string): string {
    return owner === undefined ? `${this.#prefix}:{jobs}:all` : `${this.#prefix}:{jobs}:owner:${owner}`;
  }

  get open(): string {
    return `${this.#prefix}:{jobs}:open`;
  }

  /** Which job holds the idempotency key of this digest. */
  claimOf(digest: string): string {
    return `${this.#prefix}:{key.${digest}}:job`;
  }

  #jobKey(jobId: string): string {
    const digest = digestOfJobId(jobId);
    return digest === undefined
      ? `${this.#prefix}:{job.${jobId}}`
      : `${this.#prefix}:{key.${digest}}:${jobId}`;
  }
}
