import type { Config } from '@trivec/core/config';
import { TrivecError } from '@trivec/core/errors';
import { ApiError } from '../apiError.ts';
import type { JobRequest, ResultFormat } from '../apiTypes.ts';
import { type Connection, urlFlag } from '../connect.ts';
import {
  type CommandContext,
  type CommonOptions,
  EXIT,
  print,
  printJson,
  say,
  withConnection,
} from '../context.ts';
import { type FieldMapping, mappedFields } from '../fields.ts';
import { formatBytes, formatCount, formatNumberOf } from '../format.ts';
import { openProgress } from '../progress.ts';
import { checkFile, openRecords } from '../readers/open.ts';
import type { InputFormat, RecordFile } from '../readers/recordFile.ts';
import { requireFree } from '../resultFiles.ts';
import { documentLines, type UploadTally } from '../upload.ts';
import { watchJob } from '../watch.ts';
import { dryRunText, withUnsent } from './dryRun.ts';
import { reportEnd } from './report.ts';

export interface EmbedOptions extends CommonOptions {
  outputs?: string[];
  model?: string;
  collection?: string;
  target?: string;
  out?: string;
  force?: boolean;
  format: ResultFormat;
  inputFormat?: InputFormat;
  idField: string;
  number?: boolean;
  textField: string[];
  payloadField?: string[];
  skipInvalid?: boolean;
  truncate: boolean;
  chunkTokens?: number;
  chunkOverlap?: number;
  chunkUnit?: string;
  prompt?: string;
  detach?: boolean;
  dryRun?: boolean;
}

/** A file to a job to vectors in a folder. */
export async function embed(context: CommandContext, path: string, options: EmbedOptions): Promise<number> {
  // Before a server is looked for, or started.
  await checkFile(path, options.inputFormat);
  await requireFree(options);
  return withConnection(context, options, async (connection) => {
    if (options.detach && connection.inProcess) {
      throw new TrivecError(
        'invalid_request',
        '--detach needs a server that goes on with the job: npm start.',
        {
          param: '--detach',
        },
      );
    }
    // A mistake in the options is told now, not after gigabytes are sent.
    await connection.client.checkRequest(requestOf(options), context);
    if (options.dryRun) return estimate(context, connection, path, options);
    const { answer: id, tally } = await send(context, path, options, (lines) =>
      connection.client.submit(lines, requestOf(options), context),
    );
    if (tally.skipped > 0) {
      say(context, `${formatNumberOf(tally.skipped, 'record')} left out. The first: ${tally.firstSkipped}`);
    }
    if (options.detach) {
      say(context, `Job ${id} runs at ${connection.client.url}. Follow it: npx trivec watch ${id}`);
      context.out.write(`${id}\n`);
      return EXIT.done;
    }
    return finish(context, connection, id, options);
  });
}

/** Reads the whole file, makes no job, and says what it would be. */
async function estimate(
  context: CommandContext,
  { client }: Connection,
  path: string,
  options: EmbedOptions,
): Promise<number> {
  const skipInvalid = options.skipInvalid ?? false;
  // Everything that would be refused is to be seen, not only the first.
  const { answer, tally } = await send(context, path, { ...options, skipInvalid: true }, (lines) =>
    client.dryRun(lines, requestOf(options), context),
  );
  const report = withUnsent(answer, tally, skipInvalid);
  if (options.json) printJson(context, report);
  else print(context, dryRunText(report));
  return report.accepted ? EXIT.done : EXIT.failed;
}

async function send<T>(
  context: CommandContext,
  path: string,
  options: EmbedOptions,
  submit: (lines: AsyncIterable<string>) => Promise<T>,
): Promise<{ answer: T; tally: UploadTally }> {
  const mapping = mappingOf(options);
  const fields = mappedFields(mapping);
  const file = await openRecords(path, {
    maxLineBytes: context.config.maxLineBytes,
    ...(options.inputFormat !== undefined && { format: options.inputFormat }),
    ...(fields !== undefined && { fields }),
  });
  const tally: UploadTally = { documents: 0, skipped: 0, firstSkipped: undefined };
  const progress = openProgress({
    label: 'sending',
    show: showFile(file),
    total: file.progress().total,
    stream: context.err,
  });
  try {
    const lines = documentLines(file, {
      mapping,
      skipInvalid: options.skipInvalid ?? false,
      tally,
      onProgress: () => progress.update(file.progress().done, formatNumberOf(tally.documents, 'document')),
    });
    return { answer: await submit(lines), tally };
  } catch (error) {
    if (context.signal.aborted)
      throw interrupted('Interrupted while sending: no job was made. Run it again.');
    throw error;
  } finally {
    progress.stop();
  }
}

function requestOf(options: EmbedOptions): JobRequest {
  return {
    ...(options.outputs !== undefined && { outputs: options.outputs }),
    ...(options.model !== undefined && { model: options.model }),
    ...(options.collection !== undefined && { collection: options.collection }),
    ...(options.target !== undefined && { target: options.target }),
    ...(!options.truncate && { truncate: false }),
    ...(options.skipInvalid && { onInvalid: 'skip' }),
    ...(options.chunkTokens !== undefined && { 'chunking.maxTokens': options.chunkTokens }),
    ...(options.chunkOverlap !== undefined && { 'chunking.overlap': options.chunkOverlap }),
    ...(options.chunkUnit !== undefined && { 'chunking.unit': options.chunkUnit }),
    ...(options.prompt !== undefined && { prompt: options.prompt }),
  };
}

async function finish(
  context: CommandContext,
  connection: Connection,
  id: string,
  options: EmbedOptions,
): Promise<number> {
  try {
    const job = await watchJob(connection.client, id, {
      signal: context.signal,
      progress: { stream: context.err },
    });
    return await reportEnd(context, connection, job, options);
  } catch (error) {
    if (!context.signal.aborted) throw error;
    throw interrupted(resumeHint(connection, id, context.config, options.out));
  }
}

/** How to go on with a job that this process no longer follows, or not. */
export function resumeHint(
  { client, inProcess }: Pick<Connection, 'inProcess'> & { client: { url: string } },
  id: string,
  config: Pick<Config, 'dataDir' | 'host' | 'port'>,
  out: string | undefined,
): string {
  const at = urlFlag({ client, inProcess }, config);
  const what = inProcess
    ? `Job ${id} is kept in ${config.dataDir} and goes on while it is watched, or under npm start.`
    : `Job ${id} goes on at ${client.url}.`;
  return [
    `Interrupted. ${what}`,
    `  Follow it:  npx trivec watch ${id}${at}`,
    `  Results:    npx trivec results ${id} --out ${out ?? 'DIR'}${at}`,
    `  End it:     npx trivec cancel ${id}${at}`,
  ].join('\n');
}

export function interrupted(message: string): ApiError {
  return new ApiError('interrupted', 0, message);
}

function mappingOf(options: EmbedOptions): FieldMapping {
  const all = options.payloadField?.includes('*') ?? false;
  return {
    id: options.number ? undefined : options.idField,
    text: options.textField,
    payload: all ? 'all' : options.payloadField,
  };
}

function showFile(file: RecordFile): (done: number) => string {
  const { total } = file.progress();
  const show = file.unit === 'row' ? formatCount : formatBytes;
  return (done) =>
    total === undefined ? show(done) : `${show(done)}/${show(total)}${file.unit === 'row' ? ' rows' : ''}`;
}
