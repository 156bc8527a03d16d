import { readFileSync } from 'node:fs';
import { readFlags } from '../speed/flags.ts';
import { makeTexts, SCENARIOS, type Scenario, SURFACES, type Surface } from './scenarios.ts';

export interface LoadOptions {
  /** Without a slash at the end. */
  url: string;
  surface: Surface | 'auto';
  scenarios: readonly Scenario[];
  clients: number;
  /** Of all clients, in each scenario. */
  requests: number;
  /** Texts of one request. */
  batchSize: number;
  timeoutMs: number;
  takeTexts: (count: number) => string[];
  model: string | undefined;
  headers: Record<string, string>;
  /** File for the table. */
  json: string | undefined;
}

/** Throws for what a user has to correct; the message is one line. */
export function readLoadOptions(args: readonly string[] = process.argv.slice(2)): LoadOptions {
  const { text, number, list, choice } = readFlags(
    {
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
    },
    args,
  );
  if (!URL.canParse(text.url) || !/^https?:$/.test(new URL(text.url).protocol))
    throw new RangeError(`--url must be an http:// or https:// address, not “${text.url}”.`);
  const scenarios = list('scenarios').map((name) => {
    const found = SCENARIOS.find((scenario) => scenario === name);
    if (found === undefined)
      throw new RangeError(`--scenarios: “${name}” is none of ${SCENARIOS.join(', ')}.`);
    return found;
  });
  if (scenarios.length === 0) throw new RangeError('--scenarios names nothing.');
  return {
    url: text.url.replace(/\/+$/, ''),
    surface: choice('surface', ['auto', ...SURFACES]),
    scenarios,
    clients: number('concurrency', 1),
    requests: number('requests', 1),
    batchSize: number('batch-size', 1),
    timeoutMs: number('timeout-ms', 1),
    takeTexts: text.texts === '' ? makeTexts(number('words', 1), number('seed')) : fromFile(text.texts),
    model: text.model === '' ? undefined : text.model,
    headers: text['api-key'] === '' ? {} : { authorization: `Bearer ${text['api-key']}` },
    json: text.json === '' ? undefined : text.json,
  };
}

/** One text a line, taken in turn. */
function fromFile(path: string): (count: number) => string[] {
  const lines = readFileSync(path, 'utf8')
    .split(/\r?\n/)
    .filter((line) => line.trim() !== '');
  if (lines.length === 0) throw new RangeError(`--texts: ${path} has no text.`);
  let at = 0;
  return (count) => Array.from({ length: count }, () => lines[at++ % lines.length]!);
}
