import type { JobView, ResultFormat } from '../apiTypes.ts';
import {
  type CommandContext,
  type CommonOptions,
  EXIT,
  print,
  printJson,
  say,
  withConnection,
} from '../context.ts';
import { formatBytes, formatCount, formatDuration, formatNumberOf, formatTable } from '../format.ts';
import { requireFree, saveResults } from '../resultFiles.ts';
import { describe, hasEnded, watchJob } from '../watch.ts';
import { interrupted, resumeHint } from './embed.ts';
import { exitCodeOf, reportEnd, summary } from './report.ts';

export interface ListOptions extends CommonOptions {
  limit: number;
  cursor?: string;
}

/** The newest jobs. */
export function listJobs(context: CommandContext, options: ListOptions): Promise<number> {
  return withConnection(context, options, async ({ client }) => {
    const { limit, cursor } = options;
    const page = await client.jobs({ limit, ...(cursor !== undefined && { cursor }) }, context);
    if (options.json) {
      printJson(context, page);
      return EXIT.done;
    }
    if (page.jobs.length === 0) {
      say(context, 'There are no jobs yet. Start one: npx trivec embed FILE --out DIR');
      return EXIT.done;
    }
    const rows = page.jobs.map((job) => [
      job.id,
      job.status,
      formatCount(job.counts.documents),
      formatCount(job.counts.embedded),
      formatCount(job.counts.failed),
      job.outputs.join(','),
      job.model.name,
      job.createdAt,
    ]);
    const head = ['id', 'status', 'documents', 'embedded', 'failed', 'outputs', 'model', 'created'];
    print(context, formatTable(head, rows, [2, 3, 4]));
    if (page.nextCursor !== null) say(context, `More: npx trivec jobs --cursor ${page.nextCursor}`);
    return EXIT.done;
  });
}

/** One job as it is now. */
export function showJob(context: CommandContext, id: string, options: CommonOptions): Promise<number> {
  return withConnection(context, options, async ({ client }) => {
    const job = await client.job(id, context);
    if (options.json) printJson(context, job);
    else print(context, jobText(job));
    return EXIT.done;
  });
}

export interface WatchOptions extends CommonOptions {
  out?: string;
  force?: boolean;
  format: ResultFormat;
}

/** Follows a job to its end. */
export async function watch(context: CommandContext, id: string, options: WatchOptions): Promise<number> {
  await requireFree(options, id);
  return withConnection(context, options, async (connection) => {
    try {
      const job = await watchJob(connection.client, id, {
        signal: context.signal,
        progress: { stream: context.err },
      });
      return await reportEnd(context, connection, job, options);
    } catch (error) {
      if (!context.signal.aborted) throw error;
      throw interrupted(resumeHint(connection, id, context.config, options));
    }
  });
}

export function cancel(context: CommandContext, id: string, options: CommonOptions): Promise<number> {
  return withConnection(context, options, async ({ client }) => {
    const job = await client.steer(id, 'cancel', context);
    if (options.json) printJson(context, job);
    else say(context, summary(job));
    return EXIT.done;
  });
}

const STEERED = {
  pause: 'begins nothing new. Go on: npx trivec resume',
  resume: 'goes on. Follow it: npx trivec watch',
  retry: 'embeds its failed documents again. Follow it: npx trivec watch',
} as const;

/** Changes what becomes of a job, and does not wait for it. */
export function steer(
  context: CommandContext,
  action: keyof typeof STEERED,
  id: string,
  options: CommonOptions,
): Promise<number> {
  return withConnection(context, options, async ({ client }) => {
    const job = await client.steer(id, action, context);
    if (options.json) printJson(context, job);
    else say(context, `Job ${id} ${STEERED[action]} ${id}`);
    return EXIT.done;
  });
}

export function remove(context: CommandContext, id: string, options: CommonOptions): Promise<number> {
  return withConnection(context, options, async ({ client }) => {
    await client.delete(id, context);
    if (options.json) printJson(context, { id, deleted: true });
    else say(context, `Job ${id} and its results are deleted.`);
    return EXIT.done;
  });
}

export interface ResultsOptions extends CommonOptions {
  out?: string;
  force?: boolean;
  format: ResultFormat;
}

/** The results so far, into a folder or onto stdout. */
export async function results(context: CommandContext, id: string, options: ResultsOptions): Promise<number> {
  await requireFree(options, id);
  return withConnection(context, options, async ({ client }) => {
    const job = await client.job(id, context);
    if (!hasEnded(job)) {
      const { embedded, documents } = job.counts;
      say(
        context,
        `The job is ${job.status}: results of the finished part, ${embedded} of ${formatNumberOf(documents, 'document')}.`,
      );
    }
    if (options.out === undefined) {
      for await (const chunk of await client.results(id, options.format, context)) {
        if (!context.out.write(chunk)) await new Promise((resolve) => context.out.once('drain', resolve));
      }
      return exitCodeOf(job);
    }
    const saved = await saveResults(client, job, options.out, {
      formats: [options.format],
      signal: context.signal,
      progress: context.err,
    });
    if (options.json) printJson(context, saved);
    else for (const { path, bytes } of saved) print(context, `${path}  ${formatBytes(bytes)}`);
    return exitCodeOf(job);
  });
}

function jobText(job: JobView): string {
  const { documents, embedded, written, failed } = job.counts;
  const rows = [
    ['id', job.id],
    ['status', hasEnded(job) ? job.status : [job.status, describe(job)].filter(Boolean).join(' · ')],
    [
      'documents',
      `${formatCount(documents)} in all, ${formatCount(embedded)} embedded, ${formatCount(failed)} failed`,
    ],
    ['written', written === 0 ? '' : formatCount(written)],
    ['tokens', formatCount(job.tokens)],
    ['model', `${job.model.name} (${job.model.fingerprint})`],
    ['outputs', job.outputs.join(', ')],
    ['created', job.createdAt],
    ['started', job.startedAt ?? ''],
    ['finished', job.finishedAt ?? ''],
    ['took', tookOf(job)],
    ...job.warnings.map(({ message }) => ['note', message]),
    ...job.errors.map(({ id, message }) => ['error', `${id}: ${message}`]),
  ];
  return rows
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `${name!.padEnd(10)} ${value}`)
    .join('\n');
}

function tookOf(job: JobView): string {
  if (job.startedAt === null || job.finishedAt === null) return '';
  return formatDuration((Date.parse(job.finishedAt) - Date.parse(job.startedAt)) / 1000);
}
