import type { BlobStore } from '../storage/blobStore.ts';
import type { RefusedDocument } from './documentReader.ts';
import { skippedKey } from './keys.ts';
import { paramOf } from './place.ts';
import type { DocumentError } from './records.ts';
import { SHOWN_ERRORS } from './stateMachine.ts';

const BLOB_CHARS = 256 * 1024;

/** Lists the lines that an upload left out, in blobs beside its shards; holds no more than one blob. */
export class SkippedWriter {
  /** The first few, for the job's record. */
  readonly first: DocumentError[] = [];
  private readonly storage: BlobStore;
  private readonly jobId: string;
  private count = 0;
  private blobs = 0;
  private lines: string[] = [];
  private chars = 0;

  constructor(storage: BlobStore, jobId: string) {
    this.storage = storage;
    this.jobId = jobId;
  }

  /** A promise where a blob became full. */
  add({ error, place }: RefusedDocument, id = ''): Promise<void> | undefined {
    const entry: DocumentError = { id, code: error.code, message: error.message, param: paramOf(place) };
    if (this.first.length < SHOWN_ERRORS) this.first.push(entry);
    const line = `${JSON.stringify(entry)}\n`;
    this.lines.push(line);
    this.chars += line.length;
    this.count++;
    return this.chars < BLOB_CHARS ? undefined : this.flush();
  }

  async finish(): Promise<{ lines: number; blobs: number }> {
    if (this.lines.length > 0) await this.flush();
    return { lines: this.count, blobs: this.blobs };
  }

  private async flush(): Promise<void> {
    const body = Buffer.from(this.lines.join(''));
    this.lines = [];
    this.chars = 0;
    await this.storage.put(skippedKey(this.jobId, this.blobs++), body);
  }
}
