import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TrivecClient } from '@trivec/cli/client';
import { untilReady } from '@trivec/cli/connect';
import { loadConfig, readEnvironment } from '@trivec/core/config';
import { createLogger } from '@trivec/core/telemetry/logger';
import { startStandalone } from '@trivec/standalone/server';

const READY_TIMEOUT_MS = 300_000;

/** What the environment may choose of the bench's own server; its data and its port are private. */
const CHOICES = [
  'MODEL',
  'MODELS_DIR',
  'MODELS_FILE',
  'MODEL_DTYPE',
  'HF_HUB_CACHE',
  'HF_HOME',
  'HF_TOKEN',
  'HF_ENDPOINT',
  'HF_HUB_OFFLINE',
  'DEVICE',
  'INTRA_OP_THREADS',
  'MAX_BATCH_TOKENS',
];

export interface Server {
  client: TrivecClient;
  close(): Promise<void>;
}

/** The server at `url`, or one of our own in this process on data that go with it. */
export async function openServer({ url, model }: { url?: string; model?: string }): Promise<Server> {
  if (url !== undefined) {
    const client = new TrivecClient(url);
    await untilReady(client, READY_TIMEOUT_MS);
    return { client, close: async () => {} };
  }
  const folder = await mkdtemp(join(tmpdir(), 'trivec-quality-'));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const environment = readEnvironment();
    const config = loadConfig({
      ...Object.fromEntries(CHOICES.map((name) => [name, environment[name]])),
      ...(model !== undefined && { MODEL: model }),
      PORT: '0',
      DATA_DIR: folder,
      LOG_LEVEL: 'warn',
    });
    const server = await startStandalone(config, createLogger(config, process.stderr));
    const close = async () => {
      await server.close();
      await remove();
    };
    const client = new TrivecClient(server.url);
    try {
      await untilReady(client, READY_TIMEOUT_MS);
    } catch (error) {
      await server.close();
      throw error;
    }
    return { client, close };
  } catch (error) {
    await remove();
    throw error;
  }
}
