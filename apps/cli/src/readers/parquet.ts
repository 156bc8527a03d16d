import { TrivecError } from '@trivec/core/errors';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, parquetSchema } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import type { RecordFile, SourceRecord } from './recordFile.ts';

/**
 * Rows of a Parquet file, one row group in memory at a time. `wanted` names the columns to read; those the
 * file lacks are left out, so that the mapping can say which ones it has. Undefined reads all.
 */
export async function openParquet(path: string, wanted: readonly string[] | undefined): Promise<RecordFile> {
  const file = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(file).catch((cause: unknown) => {
    throw new TrivecError('invalid_request', `${path} is not a Parquet file: ${(cause as Error).message}.`, {
      param: 'FILE',
      cause,
    });
  });
  const present = parquetSchema(metadata).children.map((child) => child.element.name);
  const some = wanted?.filter((name) => present.includes(name));
  // Where nothing fits, the first row with all its fields makes the better message.
  const columns = some === undefined || some.length < wanted!.length ? present : some;
  const total = Number(metadata.num_rows);
  let done = 0;

  async function* records(): AsyncGenerator<SourceRecord> {
    let rowStart = 0;
    for (const group of metadata.row_groups) {
      const rowEnd = rowStart + Number(group.num_rows);
      const rows = await parquetReadObjects({ file, metadata, columns, rowStart, rowEnd, compressors }).catch(
        (cause: unknown) => {
          throw new TrivecError(
            'invalid_line',
            `Rows ${rowStart + 1} to ${rowEnd} cannot be read: ${(cause as Error).message}.`,
            { param: `row ${rowStart + 1}`, cause },
          );
        },
      );
      for (const fields of rows) yield { position: ++done, fields };
      rowStart = rowEnd;
    }
  }
  // Each row group opens the file by itself.
  return { unit: 'row', records, progress: () => ({ done, total }), close: () => undefined };
}
