import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe } from 'node:test';
import type { Backend } from '@trivec/core/backend/backend';
import { openBackend } from '@trivec/core/backend/open';
import { type Config, loadConfig } from '@trivec/core/config';
import { createLogger } from '@trivec/core/telemetry/logger';
import { findRedisServer, startRedis, type TestRedis } from './redis.ts';

export const BACKEND_KINDS = ['embedded', 'redis'] as const;
export type BackendKind = (typeof BACKEND_KINDS)[number];

export interface TestBackends {
  kind: BackendKind;
  /** The one backend of the suite; opened on the first call, closed by the suite. */
  backend(): Promise<Backend>;
  /** Its configuration: what another process would need to reach the same backend. */
  config(): Promise<Config>;
}

export const silentLogger = createLogger({ logLevel: 'silent' });

/** A temporary DATA_DIR, and its removal. */
export async function temporaryDataDir(): Promise<{ dataDir: string; remove: () => Promise<void> }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'trivec-data-'));
  return { dataDir, remove: () => rm(dataDir, { recursive: true, force: true }) };
}

/**
 * Declares a suite once for each backend, with a private server or folder. The Redis half is skipped, and
 * says so, where this machine has no redis-server.
 */
export function describeBackends(
  name: string,
  env: Readonly<Record<string, string>>,
  declare: (backends: TestBackends) => void,
): void {
  for (const kind of BACKEND_KINDS) {
    const skip = kind === 'redis' && findRedisServer() === undefined && 'no redis-server on this machine';
    describe(`${name} (${kind})`, { skip }, () => {
      let opened: Promise<Opened> | undefined;
      const open = () => {
        opened ??= openTestBackend(kind, env);
        return opened;
      };
      after(async () => {
        await (await opened)?.close();
      });
      declare({
        kind,
        backend: async () => (await open()).backend,
        config: async () => (await open()).config,
      });
    });
  }
}

interface Opened {
  backend: Backend;
  config: Config;
  close(): Promise<void>;
}

/** A backend on a server or folder of its own; `close` removes both. */
async function openTestBackend(
  kind: BackendKind,
  env: Readonly<Record<string, string>> = {},
): Promise<Opened> {
  const { dataDir, remove } = await temporaryDataDir();
  let redis: TestRedis | undefined;
  try {
    if (kind === 'redis') redis = await startRedis();
    const config = loadConfig({ DATA_DIR: dataDir, BACKEND_URL: redis?.url ?? 'embedded', ...env });
    const backend = await openBackend(config, silentLogger);
    return {
      backend,
      config,
      close: async () => {
        await backend.close();
        await redis?.stop();
        await remove();
      },
    };
  } catch (error) {
    await redis?.stop();
    await remove();
    throw error;
  }
}
