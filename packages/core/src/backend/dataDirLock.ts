import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { TrivecError } from '../errors.ts';
import { makeFolder, unusableFolder } from '../folders.ts';

export interface DataDirLock {
  /** Idempotent. */
  close(): void;
}

interface Holder {
  pid: number;
  since: string;
  /** Once it listens. */
  url?: string;
}

/**
 * Takes DATA_DIR for this process, creating it (0700) where it is missing. A database folder opened twice
 * loses rows without an error, so the lock must be one that dies with its process and leaves nothing stale:
 * an exclusive SQLite transaction, which is a lock of the operating system.
 * Throws `data_dir_in_use` with the pid and the address of the holder, or `invalid_config` where the folder can't be used.
 */
export function lockDataDir(dataDir: string): DataDirLock {
  const holderFile = join(dataDir, 'lock.json');
  let database: DatabaseSync;
  try {
    makeFolder(dataDir, 0o700);
    database = new DatabaseSync(join(dataDir, 'lock.sqlite'));
  } catch (error) {
    throw unusable(dataDir, error);
  }
  try {
    database.exec('PRAGMA busy_timeout = 0; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;');
  } catch (error) {
    database.close();
    if (!/locked|busy/i.test((error as Error).message)) throw unusable(dataDir, error);
    const holder = readHolder(holderFile);
    const address = holder?.url === undefined ? '' : `, the server at ${holder.url}`;
    const who = holder ? `process ${holder.pid} since ${holder.since}${address}` : 'another process';
    throw new TrivecError(
      'data_dir_in_use',
      `DATA_DIR ${resolve(dataDir)} is in use by ${who}. Stop it, talk to its API instead, or choose another DATA_DIR.`,
      { param: 'DATA_DIR' },
    );
  }
  writeHolder(holderFile, { pid: process.pid, since: new Date().toISOString() });
  let closed = false;
  return {
    close() {
      if (closed) return;
      closed = true;
      rmSync(holderFile, { force: true });
      database.close();
    },
  };
}

/** Whoever wants the folder that this process holds is told where it listens. */
export function announceUrl(dataDir: string, url: string): void {
  const file = join(dataDir, 'lock.json');
  const holder = readHolder(file);
  if (holder?.pid === process.pid) writeHolder(file, { ...holder, url });
}

function writeHolder(file: string, holder: Holder): void {
  writeFileSync(file, JSON.stringify(holder), { mode: 0o600 });
}

function readHolder(file: string): Holder | undefined {
  try {
    const { pid, since, url } = JSON.parse(readFileSync(file, 'utf8')) as Partial<Holder>;
    if (typeof pid !== 'number' || typeof since !== 'string') return undefined;
    return { pid, since, ...(typeof url === 'string' && { url }) };
  } catch {
    return undefined;
  }
}

function unusable(dataDir: string, error: unknown): TrivecError {
  const known = unusableFolder('DATA_DIR', dataDir, error);
  if (known !== undefined) return known;
  return new TrivecError('invalid_config', `DATA_DIR ${dataDir}: ${(error as Error).message}`, {
    param: 'DATA_DIR',
    cause: error,
  });
}
