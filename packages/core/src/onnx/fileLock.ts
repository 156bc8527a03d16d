/** A lock between processes that dies with its holder. */
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { TrivecError } from '../errors.ts';

const POLL_MS = 100;

export interface FileLock {
  /** Idempotent. */
  close(): void;
}

/**
 * Takes the lock named by the file `path`, waiting as long as another process or caller holds it. The lock is an
 * exclusive SQLite transaction, which is a lock of the operating system: a killed holder leaves nothing stale.
 * The empty file stays. Throws the signal's reason when aborted, and `storage_unavailable` where the file cannot be written.
 */
export async function waitForLock(path: string, signal?: AbortSignal): Promise<FileLock> {
  const database = openDatabase(path);
  try {
    for (;;) {
      signal?.throwIfAborted();
      if (tryLock(database, path)) break;
      await sleep(POLL_MS, undefined, signal === undefined ? {} : { signal });
    }
  } catch (error) {
    database.close();
    throw error;
  }
  let closed = false;
  return {
    close() {
      if (closed) return;
      closed = true;
      database.close();
    },
  };
}

function openDatabase(path: string): DatabaseSync {
  try {
    return new DatabaseSync(path);
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

function tryLock(database: DatabaseSync, path: string): boolean {
  try {
    database.exec('PRAGMA busy_timeout = 0; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;');
    return true;
  } catch (cause) {
    if (/locked|busy/i.test((cause as Error).message)) return false;
    throw unwritable(path, cause);
  }
}

function unwritable(path: string, cause: unknown): TrivecError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new TrivecError('storage_unavailable', `${path} can't be written: ${reason}.`, { cause });
}
