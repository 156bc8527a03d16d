/** One record of a file, before it is known to be a document. */
export interface SourceRecord {
  /** Counted from 1, as an editor does: the line where it starts, or its row in a Parquet file. */
  position: number;
  fields: Record<string, unknown>;
}

export interface RecordFile {
  /** What `position` counts. */
  readonly unit: 'line' | 'row';
  /** Streams; throws `invalid_line` with the position. To be read once. */
  records(): AsyncIterable<SourceRecord>;
  /** How far the reading is: bytes of the file as it lies on disk, or rows. `total` is absent for a pipe. */
  progress(): { done: number; total?: number };
  /** Lets go of the file, also in the middle; whoever still reads gets an error. */
  close(): void;
}

export const INPUT_FORMATS = ['ndjson', 'csv', 'tsv', 'parquet'] as const;
export type InputFormat = (typeof INPUT_FORMATS)[number];
