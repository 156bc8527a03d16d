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
import { interruptibleUpload } from '../interruptibleUpload.ts';
import { openProgress } from '../progress.ts';
import { checkFile, openRecords } from '../readers/open.ts';
import type { InputFormat, RecordFile } from '../readers/recordFile.ts';
import { requireFree } from '../resultFiles.ts';
import { documentLines, type UploadTally } from '../upload.ts';
import { watchJob } from '../watch.ts';
import { dryRunText, withUnsent } from './dryRun.ts';
import { reportEnd, saveFlags } from './report.ts';

/** After Ctrl-C: how long a server that has all documents may take to say whether it made a job. */
const ANSWER_WAIT_MS = 5_000;

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
    const { answer: id, tally } = await send(context, connection, path, options, (lines, signal) =>
      connection.client.submit(lines, requestOf(options), { signal }),
    );
    if (tally.skipped > 0) {
      say(context, `${formatNumberOf(tally.skipped, 'record')} left out. The first: ${tally.firstSkipped}`);
    }
    if (context.signal.aborted)
      say(context, `${formatNumberOf(tally.documents, 'document')} had been sent: there is a job of them.`);
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
  connection: Connection,
  path: string,
  options: EmbedOptions,
): Promise<number> {
  const skipInvalid = options.skipInvalid ?? false;
  // Everything that would be refused is to be seen, not only the first.
  const all = { ...options, skipInvalid: true };
  const { answer, tally } = await send(context, connection, path, all, (lines, signal) =>
    connection.client.dryRun(lines, requestOf(options), { signal }),
  );
  const report = withUnsent(answer, tally, skipInvalid);
  if (options.json) printJson(context, report);
  else print(context, dryRunText(report));
  return report.accepted ? EXIT.done : EXIT.failed;
}

async function send<T>(
  context: CommandContext,
  connection: Connection,
  path: string,
  options: EmbedOptions,
  submit: (lines: AsyncIterable<string>, signal: AbortSignal) => Promise<T>,
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
  const lines = documentLines(file, {
    mapping,
    skipInvalid: options.skipInvalid ?? false,
    tally,
    onProgress: () => progress.update(file.progress().done, formatNumberOf(tally.documents, 'document')),
  });
  const upload = interruptibleUpload(lines, {
    signal: context.signal,
    piped: path === '-',
    answerWaitMs: options.dryRun ? 0 : ANSWER_WAIT_MS,
  });
  // A pipe that another program holds open would keep this process from ending.
  upload.signal.addEventListener('abort', () => file.close());
  try {
    return { answer: await submit(upload.lines, upload.signal), tally };
  } catch (error) {
    if (!context.signal.aborted) throw error;
    const refused = error instanceof ApiError && error.status >= 400 && error.status < 500;
    if (options.dryRun || refused || !upload.sentWhole)
      throw interrupted('Interrupted while sending: no job was made. Run it again.');
    throw interrupted(unansweredHint(connection, tally, context.config));
  } finally {
    upload.release();
    file.close();
    progress.stop();
  }
}

/** Nobody knows whether there is a job: the next thing to type is what tells. */
function unansweredHint(
  connection: Connection,
  { documents }: UploadTally,
  config: Pick<Config, 'host' | 'port'>,
): string {
  return [
    `Interrupted after ${formatNumberOf(documents, 'document')} had been sent, before the server answered: it may have made a job of them.`,
    `  See:     npx trivec jobs${urlFlag(connection, config)}`,
    `  End it:  npx trivec cancel JOB_ID${urlFlag(connection, config)}`,
  ].join('\n');
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
    throw interrupted(resumeHint(connection, id, context.config, options));
  }
}

/** How to go on with a job that this process no longer follows, or not. */
export function resumeHint(
  { client, inProcess }: Pick<Connection, 'inProcess'> & { client: { url: string } },
  id: string,
  config: Pick<Config, 'dataDir' | 'host' | 'port'>,
  options: { out?: string; format: ResultFormat },
): string {
  const at = urlFlag({ client, inProcess }, config);
  const what = inProcess
    ? `Job ${id} is kept in ${config.dataDir} and goes on while it is watched, or under npm start.`
    : `Job ${id} goes on at ${client.url}.`;
  return [
    `Interrupted. ${what}`,
    `  Follow it:  npx trivec watch ${id}${at}`,
    `  Results:    npx trivec results ${id}${saveFlags(options)}${at}`,
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
