/** Notes of shards as files of one process: they are written before each forward pass, which a row of a table made dear. */
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TrivecError } from '../errors.ts';

/**
 * A note outlives its process, not a power cut: then nobody's text has killed anybody. Errors: `backend_unavailable`
 * where the folder cannot be read or written.
 */
export class NoteFiles {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Removes what is left of jobs that are gone, and drafts of a process that died. */
  static async open(folder: string, exists: (jobId: string) => Promise<boolean>): Promise<NoteFiles> {
    const notes = new NoteFiles(folder);
    await guarded(() => mkdir(folder, { recursive: true }));
    for (const name of await guarded(() => readdir(folder))) {
      const jobId = jobOf(name);
      if (jobId === undefined || !(await exists(jobId))) await notes.#remove(name);
    }
    return notes;
  }

  async write(jobId: string, ordinal: number, note: string): Promise<void> {
    const draft = join(this.#folder, `${randomUUID()}.draft`);
    await guarded(async () => {
      try {
        await writeFile(draft, note, { mode: 0o600 });
        await rename(draft, join(this.#folder, nameOf(jobId, ordinal)));
      } catch (error) {
        // On a full disk it is tried again and again.
        await rm(draft, { force: true }).catch(() => undefined);
        throw error;
      }
    });
  }

  async read(jobId: string, ordinal: number): Promise<string | undefined> {
    return guarded(async () => {
      try {
        return await readFile(join(this.#folder, nameOf(jobId, ordinal)), 'utf8');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        throw error;
      }
    });
  }

  remove(jobId: string, ordinal: number): Promise<void> {
    return this.#remove(nameOf(jobId, ordinal));
  }

  async removeAll(jobId: string): Promise<void> {
    const names = await guarded(() => readdir(this.#folder));
    for (const name of names) if (jobOf(name) === jobId) await this.#remove(name);
  }

  #remove(name: string): Promise<void> {
    return guarded(() => rm(join(this.#folder, name), { force: true }));
  }
}

function nameOf(jobId: string, ordinal: number): string {
  return `${jobId}.${ordinal}`;
}

function jobOf(name: string): string | undefined {
  return /^(.+)\.\d+$/.exec(name)?.[1];
}

async function guarded<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TrivecError('backend_unavailable', `The notes of shards in DATA_DIR: ${reason}`, {
      retryAfterSeconds: 5,
      cause,
    });
  }
}
