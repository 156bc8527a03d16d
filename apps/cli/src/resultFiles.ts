import { createWriteStream } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { JobView, ResultFormat } from './apiTypes.ts';
import type { TrivecClient } from './client.ts';
import { formatBytes } from './format.ts';
import { openProgress } from './progress.ts';

const PROGRESS_INTERVAL_MS = 500;

export interface SavedFile {
  path: string;
  bytes: number;
}

export interface SaveOptions {
  formats: readonly ResultFormat[];
  signal?: AbortSignal;
  /** Where the receiving is shown; nowhere when absent. */
  progress?: NodeJS.WriteStream;
}

/**
 * Writes a job's results into a folder: `results.ndjson`, `.arrow` or `.parquet`, `errors.ndjson` where documents
 * failed, and `job.json`. Each file appears whole or not at all.
 */
export async function saveResults(
  client: TrivecClient,
  job: JobView,
  folder: string,
  options: SaveOptions,
): Promise<SavedFile[]> {
  const { signal, progress } = options;
  const abort = signal === undefined ? {} : { signal };
  await mkdir(folder, { recursive: true });
  const saved: SavedFile[] = [];
  for (const format of options.formats) {
    const body = await client.results(job.id, format, abort);
    saved.push(await saveStream(join(folder, `results.${format}`), body, signal, progress));
  }
  if (job.counts.failed > 0 || job.skipped > 0) {
    const body = await client.errors(job.id, abort);
    saved.push(await saveStream(join(folder, 'errors.ndjson'), body, signal));
  }
  await writeFile(join(folder, 'job.json'), `${JSON.stringify(job, null, 2)}\n`);
  return saved;
}

async function saveStream(
  path: string,
  body: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
  stream?: NodeJS.WriteStream,
): Promise<SavedFile> {
  const partial = `${path}.partial`;
  const file = createWriteStream(partial);
  const progress =
    stream && openProgress({ label: 'receiving', show: formatBytes, total: undefined, stream });
  const timer = setInterval(() => progress?.update(file.bytesWritten, ''), PROGRESS_INTERVAL_MS);
  try {
    await pipeline(Readable.from(body), file, signal === undefined ? {} : { signal });
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  } finally {
    clearInterval(timer);
    progress?.stop();
  }
  return { path, bytes: file.bytesWritten };
}
