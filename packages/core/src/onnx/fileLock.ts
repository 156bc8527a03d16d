/** A lock between processes that dies with its holder. */
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 100;

export interface FileLock {
  /** Idempotent. */
  close(): void;
}

/**
 * Takes the lock named by the file `path`, waiting as long as another process or caller holds it. The lock is an
 * exclusive SQLite transaction, which is a lock of the operating system: a killed holder leaves nothing stale.
 * The empty file stays. Throws the signal's reason when aborted.
 */
export async function waitForLock(path: string, signal?: AbortSignal): Promise<FileLock> {
  const database = new DatabaseSync(path);
  try {
    for (;;) {
      signal?.throwIfAborted();
      if (tryLock(database)) break;
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

function tryLock(database: DatabaseSync): boolean {
  try {
    database.exec('PRAGMA busy_timeout = 0; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;');
    return true;
  } catch (error) {
    if (/locked|busy/i.test((error as Error).message)) return false;
    throw error;
  }
}
