import { TrivecError } from '../errors.ts';
import type { LedgerStore } from '../ledger/ledgerStore.ts';
import type { BlobStore } from '../storage/blobStore.ts';
import { inputKey } from './keys.ts';
import type { ShardRecord } from './records.ts';
import type { CutShard } from './shardCutter.ts';

/**
 * An upload that has been silent for this long is given up, so that the sweep, which waits twice as long, never takes
 * the blobs of one that goes on.
 */
export const UPLOAD_SILENCE_MS = 30 * 60 * 1000;

const WRITES_IN_FLIGHT = 4;
const RECORDS_A_WRITE = 64;

/** Stores the shards of one upload, a few at a time; `write` waits while those are under way. */
export class UploadWriter {
  private readonly ledger: LedgerStore;
  private readonly storage: BlobStore;
  private readonly jobId: string;
  private readonly writes = new Set<Promise<void>>();
  private records: ShardRecord[] = [];
  private failure: unknown;
  private shards = 0;
  private documents = 0;
  private textBytes = 0;
  private lastWriteAtMs = Date.now();

  constructor(deps: { ledger: LedgerStore; storage: BlobStore }, jobId: string) {
    this.ledger = deps.ledger;
    this.storage = deps.storage;
    this.jobId = jobId;
  }

  /** Throws what an earlier write threw. */
  async write(shard: CutShard): Promise<void> {
    while (this.writes.size >= WRITES_IN_FLIGHT) await Promise.race(this.writes);
    this.check();
    const ordinal = this.shards++;
    this.documents += shard.documents;
    this.textBytes += shard.textBytes;
    const write = this.store(ordinal, shard)
      .catch((error: unknown) => {
        this.failure ??= error;
      })
      .finally(() => this.writes.delete(write));
    this.writes.add(write);
  }

  /** Resolves when all is stored, with the sums. */
  async finish(): Promise<{ documents: number; textBytes: number; shards: number }> {
    await this.settle();
    this.check();
    if (this.records.length > 0) await this.ledger.putShards(this.jobId, this.records);
    const { documents, textBytes, shards } = this;
    return { documents, textBytes, shards };
  }

  /** Resolves when nothing is under way any more. Never rejects. */
  async settle(): Promise<void> {
    await Promise.all(this.writes);
  }

  private check(): void {
    if (this.failure !== undefined) throw this.failure;
    if (Date.now() - this.lastWriteAtMs > UPLOAD_SILENCE_MS)
      throw new TrivecError(
        'upload_aborted',
        `The sender was silent for more than ${UPLOAD_SILENCE_MS / 60_000} minutes; no job was made.`,
      );
    this.lastWriteAtMs = Date.now();
  }

  private async store(ordinal: number, { documents, textBytes, body }: CutShard): Promise<void> {
    const key = inputKey(this.jobId, ordinal);
    await this.storage.put(key, body);
    this.records.push({ ordinal, state: 'pending', documents, textBytes, inputKey: key });
    if (this.records.length < RECORDS_A_WRITE) return;
    const records = this.records;
    this.records = [];
    await this.ledger.putShards(this.jobId, records);
  }
}
