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
}

/**
 * Takes DATA_DIR for this process, creating it (0700) where it is missing. A database folder opened twice
 * loses rows without an error, so the lock must be one that dies with its process and leaves nothing stale:
 * an exclusive SQLite transaction, which is a lock of the operating system.
 * Throws `data_dir_in_use` with the pid of the holder, or `invalid_config` where the folder can't be used.
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
    const who = holder ? `process ${holder.pid} since ${holder.since}` : 'another process';
    throw new TrivecError(
      'data_dir_in_use',
      `DATA_DIR ${resolve(dataDir)} is in use by ${who}. Stop it, talk to its API instead, or choose another DATA_DIR.`,
      { param: 'DATA_DIR' },
    );
  }
  const holder: Holder = { pid: process.pid, since: new Date().toISOString() };
  writeFileSync(holderFile, JSON.stringify(holder), { mode: 0o600 });
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

function readHolder(file: string): Holder | undefined {
  try {
    const { pid, since } = JSON.parse(readFileSync(file, 'utf8')) as Partial<Holder>;
    return typeof pid === 'number' && typeof since === 'string' ? { pid, since } : undefined;
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
