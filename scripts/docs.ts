/**
 * Writes the generated pages: docs/configuration.md, docs/errors.md, docs/surfaces.md, docs/openapi.json. With `--check` it writes
 * nothing, names what is out of date, and exits 1.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { buildApi } from '@trivec/api/app';
import { SURFACES, type Surface } from '@trivec/api/surfaces';
import { type Config, describeSchema, loadConfig, OPTION_SECTIONS } from '@trivec/core/config';
import { ERRORS } from '@trivec/core/errors';
import { createLogger } from '@trivec/core/telemetry/logger';

const folder = new URL('../docs/', import.meta.url);

const pages: Record<string, string> = {
  'configuration.md': configurationPage(),
  'errors.md': errorsPage(),
  'surfaces.md': surfacesPage(),
  'openapi.json': await openApiDocument(),
};

if (process.argv.includes('--check')) {
  const drifted = Object.entries(pages).filter(([name, text]) => read(name) !== text);
  for (const [name] of drifted) console.error(`docs/${name} is out of date: run npm run docs`);
  process.exitCode = drifted.length === 0 ? 0 : 1;
} else {
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(pages)) writeFileSync(new URL(name, folder), text);
}

function read(name: string): string | undefined {
  try {
    return readFileSync(new URL(name, folder), 'utf8');
  } catch {
    return undefined;
  }
}

function configurationPage(): string {
  const sections = Object.entries(OPTION_SECTIONS).flatMap(([heading, options]) => {
    const rows = Object.values(options).map((option) => {
      const shown = Array.isArray(option.default) ? option.default.join(',') : option.default;
      const value = shown === undefined || shown === '' ? '' : `\`${shown}\``;
      return [
        `\`${option.env}\``,
        cell(describeSchema(option.schema).replace(/ matches (.+)$/, ' matches `$1`')),
        value,
        cell(option.description),
      ];
    });
    return [`## ${heading}`, '', ...table(['Option', 'Takes', 'Default', 'What it does'], rows), ''];
  });
  return [
    '# Configuration',
    '',
    'Generated from `packages/core/src/options/` by `npm run docs`.',
    '',
    'Options are environment variables; a `.env` file in the working folder is read, and the environment wins over it.',
    'An empty value counts as absent. A malformed one stops the start with a line that says what the option takes. A name',
    'in `.env` that is no option is warned of, with the one that was probably meant. The environment is full of other',
    "programs' names: there, only a slip in an option of 10 or more characters is, and an option with `TRIVEC_` before it.",
    '',
    ...sections,
  ].join('\n');
}

function errorsPage(): string {
  const rows = Object.entries(ERRORS).map(([code, { status, retryable, meaning }]) => [
    `\`${code}\``,
    String(status),
    retryable ? 'yes' : 'no',
    cell(meaning),
  ]);
  return [
    '# Errors',
    '',
    'Generated from `packages/core/src/errors.ts` by `npm run docs`.',
    '',
    'Every error has the body `{"error": {"code", "message", "param", "requestId"}}`. `message` names the field, the line and',
    'the limit; `param` is the field, parameter or header at fault, or null; `requestId` is also in the header `x-request-id`',
    'of every answer. What may be repeated as it is says so here, and where it is known, `Retry-After` says when.',
    '',
    'The same codes stand at the documents that failed inside a job (`GET /jobs/:id/errors`), and behind the message of a',
    'process that does not start (`[invalid_config]`) and of the command line client (`(job_not_found)`). The client has two',
    'of its own: `server_unreachable` (no server answers) and `not_trivec` (what answers, or listens, is no trivec server).',
    '',
    ...table(['Code', 'Status', 'Repeat', 'Meaning'], rows),
    '',
  ].join('\n');
}

function surfacesPage(): string {
  const sections = Object.values<Surface>(SURFACES).flatMap(({ title, prefix, errors, routes }) => [
    `## ${title}`,
    '',
    `${prefix === '' ? 'At the root' : `Under \`${prefix}\``}. Errors: \`${errors}\`.`,
    '',
    ...table(
      ['Route', 'What it answers'],
      Object.entries(routes).map(([route, what]) => {
        const [method = '', path = ''] = route.split(' ');
        return [`\`${method} ${prefix}${path}\``, cell(what)];
      }),
    ),
    '',
  ]);
  return [
    '# Surfaces',
    '',
    'Generated from `apps/api/src/surfaces.ts` by `npm run docs`. How to come from another server: [api.md](api.md).',
    '',
    ...sections,
  ].join('\n');
}

/** The document of the default configuration: building the API connects to nothing, so that nothing is opened here. */
async function openApiDocument(): Promise<string> {
  const config: Config = loadConfig({});
  const unopened = {} as never;
  const app = await buildApi({
    config,
    backend: unopened,
    jobs: unopened,
    storage: unopened,
    logger: createLogger({ logLevel: 'silent' }),
  });
  await app.ready();
  const document = `${JSON.stringify(app.swagger(), null, 2)}\n`;
  await app.close();
  return document;
}

function table(head: string[], rows: string[][]): string[] {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)];
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
