import type { JobView, ResultFormat } from '../apiTypes.ts';
import { type Connection, urlFlag } from '../connect.ts';
import { type CommandContext, EXIT, printJson, say } from '../context.ts';
import { formatBytes, formatDuration, formatNumberOf } from '../format.ts';
import { saveResults } from '../resultFiles.ts';

export interface ReportOptions {
  out?: string;
  format: ResultFormat;
  json?: boolean;
}

/** Says how a job ended, saves its results where asked, and gives the exit code. */
export async function reportEnd(
  context: CommandContext,
  connection: Connection,
  job: JobView,
  options: ReportOptions,
): Promise<number> {
  const { client } = connection;
  const at = urlFlag(connection, context.config);
  say(context, summary(job));
  for (const { code, message } of job.warnings) say(context, `Note (${code}): ${message}`);
  if (job.skipped > 0) say(context, `${formatNumberOf(job.skipped, 'record')} left out by the server.`);
  for (const { id, code, message, param } of job.errors)
    say(
      context,
      param === undefined ? `Failed: ${id}: ${message} (${code})` : `Left out: ${message} (${code})`,
    );
  const rest = job.counts.failed + job.skipped - job.errors.length;
  if (rest > 0) say(context, `… and ${rest} more, see ${client.url}${job.links.errors}`);
  if (options.out !== undefined && job.counts.embedded > 0) {
    const saved = await saveResults(client, job, options.out, {
      formats: [options.format],
      signal: context.signal,
      progress: context.err,
    });
    for (const { path, bytes } of saved) say(context, `${path}  ${formatBytes(bytes)}`);
  } else if (job.counts.embedded > 0) {
    say(context, `Results: npx trivec results ${job.id}${saveFlags(options)}${at}`);
  }
  const collection = job.options.destination?.collection;
  const where = collection === undefined ? job.id : `--collection ${collection}`;
  if (job.counts.embedded > 0) say(context, `Search it: npx trivec search ${where} "your question"${at}`);
  if (options.json) printJson(context, job);
  return exitCodeOf(job);
}

/** What `trivec results` needs to save what this command was asked for. */
export function saveFlags({ out = 'DIR', format }: Pick<ReportOptions, 'out' | 'format'>): string {
  return `${format === 'ndjson' ? '' : ` --format ${format}`} --out ${out}`;
}

export function exitCodeOf(job: JobView): number {
  if (job.status === 'failed' || job.status === 'cancelled') return EXIT.failed;
  return job.counts.failed > 0 ? EXIT.someFailed : EXIT.done;
}

/** `Job x completed: 270 documents, 15,022 tokens in 4 s (3,755 tokens/s) by trivec-mini.` */
export function summary(job: JobView): string {
  const { embedded, failed } = job.counts;
  const seconds =
    job.startedAt === null || job.finishedAt === null
      ? undefined
      : (Date.parse(job.finishedAt) - Date.parse(job.startedAt)) / 1000;
  const time = seconds === undefined ? '' : ` in ${formatDuration(seconds)}`;
  const lost = failed === 0 ? '' : `, ${failed} failed`;
  const done = `${formatNumberOf(embedded, 'document')}${lost}, ${formatNumberOf(job.tokens, 'token')}`;
  return `Job ${job.id} ${job.status}: ${done}${time} by ${job.model.name}.`;
}
