/**
 * `npm run bench:load -- --url URL`: requests to any OpenAI- or TEI-compatible server, or trivec's own routes, by clients
 * that each ask again as soon as they are answered. docs/performance.md says what the flags do.
 */
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { readFlags } from '../speed/flags.ts';
import { type Call, closedLoop } from './closedLoop.ts';
import { openPoster } from './post.ts';
import { type Ask, makeTexts, requestOf, SCENARIOS, SURFACES, surfaceOf } from './scenarios.ts';
import { failuresOf, type Summary, summarize } from './summary.ts';

const flags = readFlags({
  url: 'http://127.0.0.1:8080',
  surface: 'auto',
  scenarios: 'embed_dense',
  concurrency: '8',
  requests: '100',
  'batch-size': '4',
  words: '60',
  texts: '',
  model: '',
  'api-key': '',
  'timeout-ms': '60000',
  seed: '1',
  json: '',
});
const url = flags.text.url.replace(/\/+$/, '');
const clients = flags.number('concurrency', 1);
const requests = flags.number('requests', 1);
const batchSize = flags.number('batch-size', 1);
const apiKey = flags.text['api-key'];
const headers = apiKey === '' ? {} : { authorization: `Bearer ${apiKey}` };
const scenarios = flags.list('scenarios').map((name) => {
  const found = SCENARIOS.find((scenario) => scenario === name);
  if (found === undefined) throw new RangeError(`--scenarios: ${name} is none of ${SCENARIOS.join(', ')}.`);
  return found;
});

const surface =
  flags.choice('surface', ['auto', ...SURFACES]) === 'auto'
    ? surfaceOf(await ask('/info'))
    : flags.choice('surface', SURFACES);
const model = flags.text.model === '' ? await firstModel() : flags.text.model;
const takeTexts =
  flags.text.texts === '' ? makeTexts(flags.number('words', 1), flags.number('seed')) : fromFile();
const [query = ''] = takeTexts(1);

const poster = openPoster({ headers, timeoutMs: flags.number('timeout-ms', 1) });
const table: Record<string, Summary> = {};
let failed = false;
try {
  console.log(`${url} (${surface}${model === undefined ? '' : `, ${model}`}), ${batchSize} units a request`);
  for (const scenario of scenarios) {
    const next = (): Call | undefined => {
      const request = requestOf(surface, scenario, {
        texts: takeTexts(batchSize),
        query,
        model,
      } satisfies Ask);
      return request && { url: url + request.path, json: JSON.stringify(request.body), units: batchSize };
    };
    if (next() === undefined) {
      console.log(`${scenario}: the ${surface} surface has no such request; left out.`);
      continue;
    }
    await closedLoop(poster, () => next()!, { clients, requests: clients });
    const loop = await closedLoop(poster, () => next()!, { clients, requests });
    table[scenario] = summarize(loop, clients);
    for (const { failure, times } of failuresOf(loop).slice(0, 3)) {
      failed = true;
      console.log(`${scenario}: ${times} × ${failure}`);
    }
  }
} finally {
  poster.close();
}
console.log('Units are texts, with rerank documents. Wall in seconds, times of one request in milliseconds.');
console.table(table);
if (flags.text.json !== '')
  await writeFile(flags.text.json, `${JSON.stringify({ url, surface, model, batchSize, table }, null, 2)}\n`);
process.exitCode = failed || Object.keys(table).length === 0 ? 1 : 0;

/** Undefined where the server does not answer that. Ends the process where there is no server. */
async function ask(path: string): Promise<unknown> {
  try {
    const response = await fetch(url + path, { headers });
    return response.ok ? await response.json().catch(() => undefined) : undefined;
  } catch (error) {
    const { cause } = error as { cause?: unknown };
    console.error(`No server answers at ${url}: ${cause instanceof Error ? cause.message : String(error)}`);
    process.exit(1);
  }
}

/** Servers that speak OpenAI's dialect want a name with every request. */
async function firstModel(): Promise<string | undefined> {
  if (surface !== 'openai') return undefined;
  const models = (await ask('/v1/models')) as { data?: { id?: string }[] } | undefined;
  return models?.data?.[0]?.id;
}

/** One text a line, taken in turn. */
function fromFile(): (count: number) => string[] {
  const lines = readFileSync(flags.text.texts, 'utf8')
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '');
  if (lines.length === 0) throw new RangeError(`--texts: ${flags.text.texts} has no text.`);
  let at = 0;
  return (count) => Array.from({ length: count }, () => lines[at++ % lines.length]!);
}
