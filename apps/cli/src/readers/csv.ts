import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream';
import { TrivecError } from '@trivec/core/errors';
import { CsvError, parse } from 'csv-parse';
import type { SourceRecord } from './recordFile.ts';

interface Parsed {
  record: Record<string, string>;
  info: { lines: number };
}

/** RFC 4180 with a header row; for TSV the delimiter is a tab. Every value is a string. */
export async function* readCsv(
  bytes: Readable,
  delimiter: ',' | '\t',
  maxLineBytes: number,
): AsyncGenerator<SourceRecord> {
  const parser = parse({
    columns: true,
    delimiter,
    bom: true,
    info: true,
    skip_empty_lines: true,
    max_record_size: maxLineBytes,
  });
  // The parser, which is what gets read, is destroyed with the source's error.
  pipeline(bytes, parser, () => undefined);
  let readLines = 1;
  try {
    for await (const { record, info } of parser as AsyncIterable<Parsed>) {
      readLines = info.lines;
      yield { position: info.lines - breaksInside(record), fields: record };
    }
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw new TrivecError('invalid_line', `Not readable as CSV: ${error.message}.`, {
      param: `line ${readLines + 1}`,
      cause: error,
    });
  }
}

/** The parser counts to the end of a record; a quoted value may span lines. */
function breaksInside(record: Record<string, string>): number {
  let breaks = 0;
  for (const value of Object.values(record)) breaks += value.split('\n').length - 1;
  return breaks;
}
