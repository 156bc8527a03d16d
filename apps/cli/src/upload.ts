import { TrivecError } from '@trivec/core/errors';
import { type FieldMapping, toDocument } from './fields.ts';
import type { RecordFile } from './readers/recordFile.ts';

/** Large enough that the cost of a chunk does not count. */
const CHUNK_CHARS = 64 * 1024;

export interface UploadTally {
  documents: number;
  /** Left out, and why the first one was. */
  skipped: number;
  firstSkipped: string | undefined;
}

export interface UploadOptions {
  mapping: FieldMapping;
  /** Leave out records that are no document instead of throwing. */
  skipInvalid: boolean;
  tally: UploadTally;
  /** After each chunk. */
  onProgress?: () => void;
}

/**
 * The file's documents as NDJSON. A document stands on the line whose number is its position in the file, so
 * that a server's "line 17" means the user's line 17: what lies between becomes blank lines.
 */
export async function* documentLines(file: RecordFile, options: UploadOptions): AsyncGenerator<string> {
  const { mapping, tally, onProgress } = options;
  let chunk = '';
  let line = 0;
  for await (const record of file.records()) {
    let document: ReturnType<typeof toDocument>;
    try {
      document = toDocument(record, file.unit, mapping);
    } catch (error) {
      if (!options.skipInvalid || !(error instanceof TrivecError)) throw error;
      tally.skipped++;
      tally.firstSkipped ??= error.message;
      continue;
    }
    chunk += `${'\n'.repeat(record.position - line - 1)}${JSON.stringify(document)}\n`;
    line = record.position;
    tally.documents++;
    if (chunk.length < CHUNK_CHARS) continue;
    yield chunk;
    chunk = '';
    onProgress?.();
  }
  if (chunk !== '') yield chunk;
  onProgress?.();
}
