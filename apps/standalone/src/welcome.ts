import { resolve } from 'node:path';
import { type Config, OPTIONS } from '@trivec/core/config';

/** The first thing that a person sees: loading takes seconds. */
export const STARTING = 'trivec is starting: API, queue, worker and model in one. Ctrl-C stops it.\n';

/** The last thing. */
export const STOPPED = 'trivec has stopped. Jobs that had not ended go on with the next start.\n';

/** What a person at a terminal wants to know of a server that has started. Names no secret. */
export function welcome(url: string, config: Config): string {
  const { model, models, dataDir, backendUrl, apiKeys, apiKeysFile, host, allowAnonymous, port } = config;
  const hasKeys = apiKeys.length > 0 || apiKeysFile !== undefined;
  const access = hasKeys ? 'with an API key' : allowAnonymous ? 'everybody who reaches it' : 'this machine';
  const onlyStandIn = model === OPTIONS.model.default && models.length === 0;
  const standIn = onlyStandIn ? ' (a small stand-in; MODEL=BAAI/bge-m3 takes the real one)' : '';
  const elsewhere = port === OPTIONS.port.default ? '' : ` --url ${url}`;
  const lines: [string, string][] = [
    ['API', url],
    ['Docs', `${url}/docs`],
    ['Open to', hasKeys || allowAnonymous ? `${access}, on ${host}` : access],
    ['Model', [...new Set([model, ...models])].join(', ') + standIn],
    ['Data', backendUrl === 'embedded' ? resolve(dataDir) : 'on Redis'],
    ['Try', `npm run trivec -- embed examples/passages.ndjson${elsewhere}   (in another terminal)`],
    ['Stop', 'Ctrl-C'],
  ];
  return `\ntrivec is ready.\n${lines.map(([name, value]) => `  ${name.padEnd(9)}${value}\n`).join('')}\n`;
}
