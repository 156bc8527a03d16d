import { createWriteStream } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { TrivecError } from '@trivec/core/errors';
import type { JobView, ResultFormat } from './apiTypes.ts';
import type { TrivecClient } from './client.ts';
import { formatBytes } from './format.ts';
import { openProgress } from './progress.ts';

const PROGRESS_INTERVAL_MS = 500;

const JOB_FILE = 'job.json';
const ERRORS_FILE = 'errors.ndjson';
const RESULT_FILE = /^(results\.(ndjson|arrow|parquet)|errors\.ndjson|job\.json)$/;

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
 * To be called before any work whose results go to `--out`: those of another job are kept. `jobId` undefined: a job that
 * is still to be made. Throws `invalid_request`.
 */
export async function requireFree(
  { out, force }: { out?: string; force?: boolean },
  jobId?: string,
): Promise<void> {
  if (out === undefined || force) return;
  const there = await resultsIn(out);
  if (there.files.length === 0 || (jobId !== undefined && there.jobId === jobId)) return;
  const whose = there.jobId === undefined ? 'has results already' : `has the results of job ${there.jobId}`;
  throw new TrivecError(
    'invalid_request',
    `${out} ${whose}. Give another --out, or --force, which replaces them.`,
    { param: '--out' },
  );
}

/** What an earlier command has saved in a folder, and of which job, where that can be told. */
async function resultsIn(folder: string): Promise<{ files: string[]; jobId: string | undefined }> {
  const files = (await readdir(folder).catch(() => [])).filter((name) => RESULT_FILE.test(name));
  try {
    const job = JSON.parse(await readFile(join(folder, JOB_FILE), 'utf8')) as { id?: unknown } | null;
    return { files, jobId: typeof job?.id === 'string' ? job.id : undefined };
  } catch {
    return { files, jobId: undefined };
  }
}

/**
 * Writes a job's results into a folder: `results.ndjson`, `.arrow` or `.parquet`, `errors.ndjson` where documents
 * failed, and `job.json`. Each file appears whole or not at all; what another job had there goes, so that all that lies
 * there is of one job.
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
  const before = await resultsIn(folder);
  const outdated = before.jobId === job.id ? [ERRORS_FILE] : before.files;
  for (const name of outdated) await rm(join(folder, name), { force: true });
  const saved: SavedFile[] = [];
  for (const format of options.formats) {
    const body = await client.results(job.id, format, abort);
    saved.push(await saveStream(join(folder, `results.${format}`), body, signal, progress));
  }
  if (job.counts.failed > 0 || job.skipped > 0) {
    const body = await client.errors(job.id, abort);
    saved.push(await saveStream(join(folder, ERRORS_FILE), body, signal));
  }
  await writeFile(join(folder, JOB_FILE), `${JSON.stringify(job, null, 2)}\n`);
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
