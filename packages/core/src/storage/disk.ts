import { randomBytes } from 'node:crypto';
import { constants, createReadStream, type Dirent } from 'node:fs';
import {
  access,
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  statfs,
} from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { TrivecError } from '../errors.ts';
import { makeFolder } from '../folders.ts';
import type { BlobStore } from './blobStore.ts';
import { FolderSync } from './folderSync.ts';
import { checkKey, checkPrefix } from './keys.ts';

/** No key begins with a dot, so that none can lie here. */
const TEMP_FOLDER = '.tmp';
/** Another process may be writing its own right now; a put takes seconds. */
const TEMP_LEFTOVER_AFTER_MS = 60 * 60 * 1000;
/** More are forgotten, and looked after again. */
const KNOWN_FOLDERS = 10_000;

/** Blobs as files: written beside, synced, renamed into place, folder synced. */
export class DiskStorage implements BlobStore {
  readonly description: string;
  private readonly root: string;
  private readonly folders = new FolderSync();
  /** Folders that are on disk with all the folders above them, as far as this process knows. */
  private readonly named = new Set<string>();

  private constructor(root: string) {
    this.root = root;
    this.description = root;
  }

  /** Makes the folder where it is missing and sweeps what dead writers left half-written. */
  static async open(folder: string, nowMs = Date.now()): Promise<DiskStorage> {
    const root = resolve(folder);
    return guard(async () => {
      const temp = join(root, TEMP_FOLDER);
      makeFolder(temp);
      await access(temp, constants.W_OK);
      for (const name of await readdir(temp)) {
        const path = join(temp, name);
        const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: nowMs }));
        if (nowMs - mtimeMs > TEMP_LEFTOVER_AFTER_MS) await rm(path, { force: true });
      }
      return new DiskStorage(root);
    });
  }

  async put(key: string, body: Uint8Array): Promise<void> {
    checkKey(key);
    const target = join(this.root, key);
    const temp = join(this.root, TEMP_FOLDER, randomBytes(12).toString('hex'));
    await guard(async () => {
      try {
        const file = await open(temp, 'wx');
        try {
          await file.writeFile(body);
          await file.datasync();
        } finally {
          await file.close();
        }
        await this.moveInto(temp, target);
      } catch (error) {
        await rm(temp, { force: true });
        throw error;
      }
    });
  }

  private async moveInto(temp: string, target: string): Promise<void> {
    const folder = dirname(target);
    try {
      await rename(temp, target);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
      // Before it is there for others: they must not rely on what was known of the one before.
      this.named.delete(folder);
      await mkdir(folder, { recursive: true });
      await rename(temp, target);
    }
    await Promise.all([this.folders.sync(folder), this.syncAncestors(folder)]);
  }

  /**
   * A new folder is on disk only when the folder that names it is. Not only whoever makes a folder sees to that: others
   * may put into it before that is done, and a process that made it may have died.
   */
  private async syncAncestors(folder: string): Promise<void> {
    if (this.named.has(folder)) return;
    for (let path = folder; path !== this.root; path = dirname(path)) await this.folders.sync(dirname(path));
    if (this.named.size >= KNOWN_FOLDERS) this.named.clear();
    this.named.add(folder);
  }

  async get(key: string): Promise<Buffer | undefined> {
    checkKey(key);
    return guard(async () => {
      try {
        return await readFile(join(this.root, key));
      } catch (error) {
        if (errorCode(error) === 'ENOENT') return undefined;
        throw error;
      }
    });
  }

  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await guard(() => statfs(this.root));
    return bavail * bsize;
  }

  async stream(key: string): Promise<Readable | undefined> {
    checkKey(key);
    const file = await guard(() => openIfThere(join(this.root, key)));
    if (file === undefined) return undefined;
    return Readable.from(readGuarded(createReadStream('', { fd: file })), { objectMode: false });
  }

  async *list(prefix: string): AsyncGenerator<{ key: string; bytes: number; modifiedAtMs: number }> {
    checkPrefix(prefix);
    const entries = await guard(() => readFolder(join(this.root, prefix)));
    for (const entry of entries) {
      const key = prefix + entry.name;
      if (entry.isDirectory()) yield* this.list(`${key}/`);
      else if (entry.isFile()) {
        const found = await stat(join(this.root, key)).catch(() => undefined);
        if (found) yield { key, bytes: found.size, modifiedAtMs: found.mtimeMs };
      }
    }
  }

  async delete(keys: readonly string[]): Promise<void> {
    keys.forEach(checkKey);
    await guard(async () => {
      for (const key of keys) await rm(join(this.root, key), { force: true });
    });
  }

  async deletePrefix(prefix: string): Promise<void> {
    checkPrefix(prefix);
    const folder = join(this.root, prefix);
    await guard(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
    for (const path of this.named) if (`${path}/`.startsWith(folder)) this.named.delete(path);
  }

  async close(): Promise<void> {}
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function readFolder(path: string): Promise<Dirent[]> {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

async function* readGuarded(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* stream;
  } catch (error) {
    throw storageError(error);
  }
}

async function guard<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storageError(error);
  }
}

/** `ENOSPC` and `EDQUOT` are `storage_full`, anything else `storage_unavailable`. */
export function storageError(error: unknown): TrivecError {
  if (error instanceof TrivecError) return error;
  const code = errorCode(error) ?? 'unknown error';
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new TrivecError('storage_full', 'The storage has no space left.', {
      cause: error,
      retryAfterSeconds: 60,
    });
  return new TrivecError('storage_unavailable', `The storage does not work: ${code}.`, {
    cause: error,
    retryAfterSeconds: 5,
  });
}

function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
