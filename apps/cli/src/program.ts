import { defaultUrl } from '@trivec/core/defaultUrl';
import { SEARCH_MODES } from '@trivec/core/jobs/serviceTypes';
import { COMPARED_DTYPES, REWRITTEN_DTYPES } from '@trivec/core/models/dtypes';
import { QDRANT_SEARCH_MODES } from '@trivec/core/sinks/qdrant/search';
import { OUTPUTS } from '@trivec/core/vectors/types';
import { Command, InvalidArgumentError, Option } from 'commander';
import { searchCollection } from './commands/collectionSearch.ts';
import { type EmbedOptions, embed } from './commands/embed.ts';
import { cancel, listJobs, remove, results, showJob, steer, watch } from './commands/jobs.ts';
import { listModels } from './commands/models.ts';
import { search } from './commands/search.ts';
import type { CommandContext } from './context.ts';
import { npmHint } from './npmCall.ts';
import { INPUT_FORMATS } from './readers/recordFile.ts';

const TARGET = 'with --collection: a server of QDRANT_TARGETS (default: that of QDRANT_URL)';

const DESCRIPTION = `Corpora and queries to dense, sparse and ColBERT vectors.

Talks to the trivec server at --url, or else at HOST:PORT of the environment or .env. Where none runs there, the command works by itself on DATA_DIR, as the server would.`;

const EXIT_CODES = `
Exit codes: 0 done; 1 failed; 2 wrong usage; 3 done, but some documents failed; 130 interrupted.`;

/** The command line. `finish` receives the exit code of the command that ran. */
export function buildProgram(context: CommandContext, finish: (exitCode: number) => void): Command {
  const program = new Command('trivec')
    .description(DESCRIPTION)
    .helpCommand(false)
    .showHelpAfterError('(--help lists what there is)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.out.write(text),
      writeErr: (text) => context.err.write(text),
      outputError: (text, write) => write(text + npmHint(text, context.npm) + serverHint(text)),
    })
    .addHelpText('after', EXIT_CODES);

  const command = (usage: string, description: string) =>
    serverOptions(program.command(usage).description(description));
  const serverOptions = (one: Command) =>
    one
      .addOption(
        new Option('--url <url>', `the server; default ${defaultUrl(context.config)} (HOST, PORT)`).argParser(
          url,
        ),
      )
      .option(
        '--api-key <key>',
        'of the server, where it has keys (better: TRIVEC_API_KEY, which no list of processes shows)',
      )
      .addOption(
        new Option('--local', 'look for no server: work in this process, on DATA_DIR').conflicts('url'),
      )
      .option('--json', 'print JSON on stdout instead of text');
  const run = async (work: Promise<number>) => finish(await work);
  const format = () =>
    new Option('--format <format>', 'of the vectors')
      .choices(['ndjson', 'arrow', 'parquet'])
      .default('ndjson');

  const force = () => new Option('--force', 'with --out: replace results of another job');

  command('embed', 'Embed a file: NDJSON, CSV, TSV (each also .gz) or Parquet.')
    .argument('<file>', 'one document a line or row; - reads a pipe')
    .option(
      '--outputs <names>',
      `comma-separated: ${OUTPUTS.join(', ')} (default: all the model has but colbert)`,
      list,
    )
    .option('--model <name>', 'one that trivec models served lists (default: the server’s)')
    .option('--out <dir>', 'folder for results.ndjson, .arrow or .parquet, errors.ndjson and job.json')
    .addOption(force())
    .addOption(format())
    .addOption(
      new Option('--input-format <format>', 'default: what the name says').choices([...INPUT_FORMATS]),
    )
    .option('--id-field <name>', 'field with the id', 'id')
    .option('--number', 'use the line or row number as the id')
    .option('--text-field <names>', 'fields with the text, comma-separated, joined by a line break', list, [
      'text',
    ])
    .option(
      '--payload-field <names>',
      'fields to keep as payload, comma-separated; * keeps all others (default: an object called payload)',
      list,
    )
    .option(
      '--skip-invalid',
      'leave out records that are no document (no id, no text, an id twice), and say how many',
    )
    .addOption(
      new Option('--chunk-tokens <n>', 'cut long documents into chunks of at most so many tokens').argParser(
        integerFrom(4, 1_000_000),
      ),
    )
    .addOption(
      new Option(
        '--chunk-overlap <n>',
        'tokens that a chunk repeats of the one before (default 0)',
      ).argParser(integerFrom(0, 1_000_000)),
    )
    .addOption(
      new Option('--chunk-unit <unit>', 'cut between sentences (default), or fill each chunk').choices([
        'sentence',
        'token',
      ]),
    )
    .option('--prompt <text>', 'put before each text that the model sees')
    .option('--no-truncate', 'let a document over the model’s length fail instead of cutting it')
    .option('--collection <name>', 'also write the vectors into this collection of the server’s Qdrant')
    .option('--target <name>', TARGET)
    .addOption(
      new Option(
        '--dry-run',
        'make no job: say how many documents, tokens, hours and gigabytes it would be',
      ).conflicts(['detach', 'out']),
    )
    .option('--detach', 'do not wait: print the job’s id and end')
    .action((file: string, options: EmbedOptions) => {
      requireCollection(program, options);
      return run(embed(context, file, options));
    });

  command('jobs', 'List jobs, the newest first.')
    .addOption(new Option('--limit <count>', 'jobs to list').argParser(integerFrom(1, 100)).default(20))
    .option('--cursor <cursor>', 'where the list before ended')
    .action((options) => run(listJobs(context, options)));

  command('job', 'Show one job.')
    .argument('<id>', 'of the job')
    .action((id: string, options) => run(showJob(context, id, options)));

  command('watch', 'Follow a job to its end.')
    .argument('<id>', 'of the job')
    .option('--out <dir>', 'then save its results there')
    .addOption(force())
    .addOption(format())
    .action((id: string, options) => run(watch(context, id, options)));

  command('results', 'Save or print the vectors of a job, as far as it is.')
    .argument('<id>', 'of the job')
    .option('--out <dir>', 'folder to save them in (default: print them)')
    .addOption(force())
    .addOption(format())
    .action((id: string, options) => run(results(context, id, options)));

  command('search', 'Ask a question about the documents of a job, or of a Qdrant collection.')
    .argument('[id]', 'of the job; none with --collection')
    .argument('[question]', 'in quotes')
    .addOption(
      new Option('--mode <mode>', 'which vectors decide (rerank: only with --collection)')
        .choices([...new Set([...SEARCH_MODES, ...QDRANT_SEARCH_MODES])])
        .default('hybrid'),
    )
    .option('--collection <name>', 'ask this collection of the server’s Qdrant')
    .option('--target <name>', TARGET)
    .option('--filter <json>', 'with --collection: a filter in Qdrant’s own words', filterOf)
    .addOption(new Option('--limit <count>', 'hits to show').argParser(integerFrom(1, 1000)).default(10))
    .option('--explain', 'show which tokens carried each hit')
    .action((first: string | undefined, second: string | undefined, options) => {
      requireCollection(program, options);
      return run(
        options.collection === undefined
          ? search(context, first ?? incomplete(program), second ?? incomplete(program), options)
          : searchCollection(context, second ?? first ?? incomplete(program), options),
      );
    });

  command('cancel', 'End a job now; what is done stays.')
    .argument('<id>', 'of the job')
    .action((id: string, options) => run(cancel(context, id, options)));

  const steering = {
    pause: 'Begin nothing new of a job; what runs is finished.',
    resume: 'Go on with a paused job.',
    retry: 'Embed the failed documents of an ended job again.',
  } as const;
  for (const [action, description] of Object.entries(steering) as [keyof typeof steering, string][])
    command(action, description)
      .argument('<id>', 'of the job')
      .action((id: string, options) => run(steer(context, action, id, options)));

  command('delete', 'Delete a job, its documents and its results.')
    .argument('<id>', 'of the job')
    .action((id: string, options) => run(remove(context, id, options)));

  const models = program
    .command('models')
    .description('List the models that have a name, and which of them are on this machine.')
    .usage('[options] [command]')
    // For a mistyped command, which is no surplus argument; without a description it is not listed in the help.
    .argument('[command...]')
    .option('--json', 'print JSON on stdout instead of text')
    .action(async ([mistyped]: string[], options, self: Command) => {
      if (mistyped !== undefined) unknownCommand(self, mistyped);
      return run((await modelFiles()).listCatalog(context, options));
    });
  serverOptions(models.command('served').description('List the models that the server serves.')).action(
    (_options, self: Command) => run(listModels(context, self.optsWithGlobals())),
  );
  models
    .command('pull')
    .description('Download a model into the hub’s cache, or bring what is there up to date.')
    .argument('<name>', 'of the catalog, or a hub id like org/name')
    .action(async (name: string) => run((await modelFiles()).pull(context, name)));
  models
    .command('check')
    .description('Say what a model folder is, load it, and test it.')
    .argument('<model>', 'a folder, or a name whose files are on this machine')
    .addOption(
      new Option('--dtype <dtype>', 'compare this precision with fp32 instead, on sample texts').choices(
        COMPARED_DTYPES,
      ),
    )
    .option('--json', 'print JSON on stdout instead of text')
    .action(async (name: string, _options, self: Command) =>
      run((await modelFiles()).check(context, name, self.optsWithGlobals())),
    );
  models
    .command('quantize')
    .description('Write a model with smaller weights into a folder of its own, to be served as MODEL=DIR.')
    .argument('<model>', 'with fp32 files: a folder, or a name whose files are on this machine')
    .requiredOption('--out <dir>', 'new or empty, or an earlier result, which is replaced')
    .addOption(
      new Option('--dtype <dtype>', 'see docs/int8.md')
        .choices(REWRITTEN_DTYPES)
        .default(REWRITTEN_DTYPES[0]),
    )
    .option('--json', 'print JSON on stdout instead of text')
    .action(async (name: string, _options, self: Command) =>
      run((await modelFiles()).quantize(context, name, self.optsWithGlobals())),
    );

  return program;
}

/** All commands but those of `models` have the options of a server. */
function serverHint(error: string): string {
  if (!/^error: unknown option '--(url|api-key|local)'/.test(error)) return '';
  return 'This works on the files of this machine. `trivec models served` asks a server, and takes --url.\n';
}

function incomplete(program: Command): never {
  return program.error(
    'error: search needs JOB_ID and a question (`npx trivec jobs` lists ids), or --collection and a question.',
  );
}

function unknownCommand(parent: Command, name: string): never {
  const names = parent.commands.map((one) => one.name());
  return parent.error(
    `error: unknown command '${parent.name()} ${name}'. There are: ${names.map((one) => `${parent.name()} ${one}`).join(', ')}.`,
  );
}

/** A target alone would be ignored in silence. */
function requireCollection(program: Command, options: { target?: string; collection?: string }): void {
  if (options.target !== undefined && options.collection === undefined)
    program.error('error: --target needs --collection');
}

function filterOf(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch {
    // said below
  }
  throw new InvalidArgumentError('It must be a JSON object.');
}

/** Loaded only where it is needed: it brings the model's runtime along. */
function modelFiles() {
  return import('./commands/modelFiles.ts');
}

function list(value: string): string[] {
  const names = value
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  if (names.length === 0) throw new InvalidArgumentError('It names nothing.');
  return names;
}

function url(value: string): string {
  if (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol)) return value;
  throw new InvalidArgumentError('It must be an http:// or https:// address.');
}

function integerFrom(minimum: number, maximum: number): (value: string) => number {
  return (value) => {
    const number = Number(value);
    if (/^\d+$/.test(value) && number >= minimum && number <= maximum) return number;
    throw new InvalidArgumentError(`It must be an integer from ${minimum} to ${maximum}.`);
  };
}
