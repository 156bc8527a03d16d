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
    columns: uniqueColumns,
    delimiter,
    bom: true,
    info: true,
    skip_empty_lines: true,
    max_record_size: maxLineBytes,
  });
  // The parser, which is what gets read, is destroyed with the source's error.
  pipeline(bytes, parser, () => undefined);
  let readLines = 1;
  let countedTwice = 0;
  try {
    for await (const { record, info } of parser as AsyncIterable<Parsed>) {
      // The parser counts both halves of a CRLF inside quotes.
      countedTwice += countInside(record, /\r\n/g);
      readLines = info.lines - countedTwice;
      yield { position: readLines - countInside(record, /\r\n?|\n/g), fields: record };
    }
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    throw new TrivecError('invalid_line', `Not readable as CSV: ${error.message}.`, {
      param: `line ${readLines + 1}`,
      cause: error,
    });
  }
}

/** A value may span lines: a record begins as many lines before its end. */
function countInside(record: Record<string, string>, breaks: RegExp): number {
  let count = 0;
  for (const value of Object.values(record)) count += value.match(breaks)?.length ?? 0;
  return count;
}

/** Of two columns with one name a record would keep the last. Columns without a name are nobody's. */
function uniqueColumns(names: string[]): string[] {
  const twice = names.find((name, index) => name !== '' && names.indexOf(name) < index);
  if (twice !== undefined)
    throw new TrivecError('invalid_line', `Two columns are named ${JSON.stringify(twice)}.`, {
      param: 'line 1',
    });
  return names;
}
