import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '@trivec/core/config';
import { defaultUrl } from '@trivec/core/defaultUrl';
import { TrivecError } from '@trivec/core/errors';
import { ApiError } from './apiError.ts';
import { TrivecClient } from './client.ts';

const PROBE_TIMEOUT_MS = 3_000;
const MODEL_TIMEOUT_MS = 180_000;

export interface Connection {
  client: TrivecClient;
  /** True where this process itself is the server, for as long as the command runs. */
  inProcess: boolean;
  close(): Promise<void>;
}

export interface ConnectOptions {
  config: Config;
  /** `--url`: then nothing else is tried. */
  url?: string | undefined;
  /** `--api-key`, or that of the environment; where there is none, one of the configuration's own. */
  apiKey?: string | undefined;
  /** `--local`: no server is looked for. */
  local?: boolean | undefined;
  /** Says what is being waited for. */
  log: (line: string) => void;
  /** Starts API, worker and embedded backend in this process. */
  startServer: (config: Config) => Promise<{ url: string; close(): Promise<void> }>;
}

/**
 * The server of `--url`, or the one that the configuration describes; where that one does not run and the
 * embedded backend's folder is free, a server inside this process. Throws `server_unreachable`.
 */
export async function connect(options: ConnectOptions): Promise<Connection> {
  const { config, log } = options;
  if (options.local) return startInProcess(options, undefined);
  const client = new TrivecClient(options.url ?? defaultUrl(config), {
    apiKey: options.apiKey ?? (options.url === undefined ? ownKey(config) : undefined),
  });
  try {
    await client.live({ signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
    return { client, inProcess: false, close: () => Promise.resolve() };
  } catch (error) {
    const reason = reasonOf(error, client.url);
    if (options.url !== undefined || config.backendUrl !== 'embedded') throw reason;
    if (reason.code !== 'server_unreachable') throw reason;
  }
  log(`No server at ${client.url}: working in this process, with the data in ${config.dataDir}.`);
  return startInProcess(options, client.url);
}

/** The key of an administrator, else the first, of those that a server with this configuration opens to. */
export function ownKey({ apiKeys }: Pick<Config, 'apiKeys'>): string | undefined {
  const entry = apiKeys.find((one) => /^[^:=]+:admin=/.test(one)) ?? apiKeys[0];
  return entry?.slice(entry.indexOf('=') + 1);
}

async function startInProcess(options: ConnectOptions, triedUrl: string | undefined): Promise<Connection> {
  const { config } = options;
  let server: { url: string; close(): Promise<void> };
  try {
    server = await options.startServer({ ...config, host: '127.0.0.1', port: 0 });
  } catch (error) {
    const held = error instanceof TrivecError && error.code === 'data_dir_in_use';
    if (!held || triedUrl === undefined) throw error;
    throw new ApiError(
      'server_unreachable',
      0,
      `${error.message} It does not answer at ${triedUrl}: it may still be starting (try again), or listen elsewhere (--url).`,
    );
  }
  const client = new TrivecClient(server.url, { apiKey: options.apiKey ?? ownKey(config) });
  try {
    await untilReady(client, MODEL_TIMEOUT_MS);
  } catch (error) {
    await server.close();
    throw error;
  }
  return { client, inProcess: true, close: () => server.close() };
}

/** Resolves once a worker has loaded the model. */
export async function untilReady(client: TrivecClient, timeoutMs: number): Promise<void> {
  const giveUpAtMs = performance.now() + timeoutMs;
  while (!(await client.ready())) {
    if (performance.now() > giveUpAtMs) {
      throw new ApiError('model_unavailable', 503, `The model was not loaded within ${timeoutMs / 1000} s.`);
    }
    await sleep(100);
  }
}

function reasonOf(error: unknown, url: string): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError(
    'not_trivec',
    0,
    `What listens at ${url} did not answer within ${PROBE_TIMEOUT_MS / 1000} s.`,
    {
      cause: error,
    },
  );
}

/** What a command that is shown to be typed next needs to reach the same server. */
export function urlFlag(
  { client, inProcess }: Pick<Connection, 'inProcess'> & { client: { url: string } },
  config: Pick<Config, 'host' | 'port'>,
): string {
  return inProcess || client.url === defaultUrl(config) ? '' : ` --url ${client.url}`;
}
