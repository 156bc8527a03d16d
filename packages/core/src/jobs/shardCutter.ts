import type { Document, ShardRecord } from './records.ts';

/** Payloads are not counted as text, but a shard is held in memory whole: this bounds it. */
const MAX_SHARD_BLOB_BYTES = 8 * 1024 * 1024;

export interface ShardLimits {
  maxDocuments: number;
  /** UTF-8 bytes of text; a longer document stands alone. */
  maxTextBytes: number;
}

export interface CutShard {
  documents: number;
  textBytes: number;
  /** NDJSON of the documents, ids canonical. */
  body: Buffer;
}

/** Cuts a stream of documents into shards, in order. Pure: `add` and `rest` return the shards that became full. */
export class ShardCutter {
  private readonly limits: ShardLimits;
  private lines: string[] = [];
  private textBytes = 0;
  private blobBytes = 0;

  constructor(limits: ShardLimits) {
    this.limits = limits;
  }

  /** The shard that ends before this document, if it does not fit into it. */
  add(document: Document): CutShard | undefined {
    const line = `${JSON.stringify(document)}\n`;
    const lineBytes = Buffer.byteLength(line);
    const textBytes = Buffer.byteLength(document.text);
    const full = this.fits(textBytes, lineBytes) ? undefined : this.rest();
    this.lines.push(line);
    this.textBytes += textBytes;
    this.blobBytes += lineBytes;
    return full;
  }

  /** What is left, if anything is. */
  rest(): CutShard | undefined {
    if (this.lines.length === 0) return undefined;
    const shard = {
      documents: this.lines.length,
      textBytes: this.textBytes,
      body: Buffer.from(this.lines.join('')),
    };
    this.lines = [];
    this.textBytes = 0;
    this.blobBytes = 0;
    return shard;
  }

  private fits(textBytes: number, lineBytes: number): boolean {
    if (this.lines.length === 0) return true;
    return (
      this.lines.length < this.limits.maxDocuments &&
      this.textBytes + textBytes <= this.limits.maxTextBytes &&
      this.blobBytes + lineBytes <= MAX_SHARD_BLOB_BYTES
    );
  }
}

/** Reads a shard's blob back. */
export function readShardDocuments(body: Buffer): Document[] {
  return body
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Document);
}

/** The same; `undefined` where the blob is not the one that was written. */
export function readWholeShard(body: Buffer, shard: Pick<ShardRecord, 'documents'>): Document[] | undefined {
  try {
    const documents = readShardDocuments(body);
    const areDocuments = documents.every(
      ({ id, text }) => typeof id === 'string' && typeof text === 'string',
    );
    return areDocuments && documents.length === shard.documents ? documents : undefined;
  } catch {
    return undefined;
  }
}
