import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { TrivecError } from '@trivec/core/errors';
import { readCsv } from './csv.ts';
import { readNdjson } from './ndjson.ts';
import { openParquet } from './parquet.ts';
import { INPUT_FORMATS, type InputFormat, type RecordFile, type SourceRecord } from './recordFile.ts';

export interface OpenOptions {
  /** Overrides what the name says; needed for a pipe and for names that say nothing. */
  format?: InputFormat;
  /** The fields that will be read; all when absent. */
  fields?: readonly string[];
  maxLineBytes: number;
}

const EXTENSIONS: Record<string, InputFormat> = {
  ndjson: 'ndjson',
  jsonl: 'ndjson',
  csv: 'csv',
  tsv: 'tsv',
  tab: 'tsv',
  parquet: 'parquet',
  pq: 'parquet',
};

/** What can be told of a file by its name and kind, before anybody is asked to read it. Throws `invalid_request`. */
export async function checkFile(path: string, format: InputFormat | undefined): Promise<void> {
  if (path !== '-') await fileSize(path);
  if (format === undefined) formatOf(path);
}

/** Opens a file by its name (`x.csv`, `x.ndjson.gz`, …), or a pipe by `-`. Nothing is read as a whole. */
export async function openRecords(path: string, options: OpenOptions): Promise<RecordFile> {
  // A folder is told as such before its name is.
  const total = path === '-' ? undefined : await fileSize(path);
  const format = options.format ?? formatOf(path);
  if (total === undefined) {
    if (format === 'parquet') throw usage('A Parquet file cannot be read from a pipe; give its name.');
    return textFile(process.stdin, format, undefined, options.maxLineBytes);
  }
  if (format === 'parquet') return openParquet(path, options.fields);
  const file = createReadStream(path, { highWaterMark: 256 * 1024 });
  return textFile(file, format, { gzipped: /\.gz$/i.test(path), total }, options.maxLineBytes);
}

/** What a file's name says: `passages.jsonl.gz` is NDJSON. */
export function formatOf(path: string): InputFormat {
  const extension = /\.([^./\\]+)$/.exec(path.toLowerCase().replace(/\.gz$/, ''))?.[1];
  const format = extension === undefined ? undefined : EXTENSIONS[extension];
  if (format !== undefined) return format;
  const hint = extension === 'json' ? " One JSON array becomes NDJSON with: jq -c '.[]'" : '';
  throw usage(
    `Cannot tell the format of ${path} from its name; say --input-format ${INPUT_FORMATS.join('|')}.${hint}`,
  );
}

function textFile(
  source: Readable,
  format: Exclude<InputFormat, 'parquet'>,
  file: { gzipped: boolean; total: number } | undefined,
  maxLineBytes: number,
): RecordFile {
  let done = 0;
  source.on('data', (chunk: Buffer) => {
    done += chunk.length;
  });
  source.pause();

  async function* records(): AsyncGenerator<SourceRecord> {
    // A failure on either side reaches the reader through the last stream.
    const bytes = file?.gzipped ? pipeline(source, createGunzip(), () => undefined) : source;
    try {
      if (format === 'ndjson') yield* readNdjson(bytes, maxLineBytes);
      else yield* readCsv(bytes, format === 'csv' ? ',' : '\t', maxLineBytes);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? '';
      if (!code.startsWith('Z_')) throw error;
      throw new TrivecError('invalid_line', `Not readable as gzip: ${(error as Error).message}.`, {
        param: 'FILE',
        cause: error,
      });
    }
  }
  return {
    unit: 'line',
    records,
    progress: () => (file === undefined ? { done } : { done, total: file.total }),
    close: () => source.destroy(),
  };
}

async function fileSize(path: string): Promise<number> {
  try {
    const info = await stat(path);
    if (info.isDirectory())
      throw usage(
        `${path} is a folder: give one file, NDJSON, CSV, TSV (each also .gz) or Parquet. Several NDJSON files go through a pipe: cat ${join(path, '*.ndjson')} | npx trivec embed - --input-format ndjson`,
      );
    return info.size;
  } catch (error) {
    if (error instanceof TrivecError) throw error;
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw usage(missing ? `There is no file ${path}.` : `${path}: ${(error as Error).message}.`);
  }
}

function usage(message: string): TrivecError {
  return new TrivecError('invalid_request', message, { param: 'FILE' });
}
