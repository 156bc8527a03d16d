/**
 * `npm run bench:load -- --url URL`: requests to any OpenAI- or TEI-compatible server, or trivec's own routes, by clients
 * that each ask again as soon as they are answered. docs/performance.md says what the flags do.
 */
import { writeFile } from 'node:fs/promises';
import { orExit } from '../speed/flags.ts';
import { type Call, closedLoop } from './closedLoop.ts';
import { readLoadOptions } from './options.ts';
import { openPoster } from './post.ts';
import { type Ask, requestOf, surfaceOf } from './scenarios.ts';
import { failuresOf, type Summary, summarize } from './summary.ts';

const options = orExit(readLoadOptions, ' docs/performance.md lists the flags.');
const { url, headers, scenarios, clients, requests, batchSize, takeTexts } = options;
const surface = options.surface === 'auto' ? surfaceOf(await ask('/info')) : options.surface;
const model = options.model ?? (await firstModel());
const [query = ''] = takeTexts(1);

const poster = openPoster({ headers, timeoutMs: options.timeoutMs });
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
if (options.json !== undefined)
  await writeFile(options.json, `${JSON.stringify({ url, surface, model, batchSize, table }, null, 2)}\n`);
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
