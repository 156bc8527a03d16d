/** The hub's usual cache on disk: `models--ORG--NAME/{blobs,refs,snapshots}`, snapshots being links into blobs. */
import { access, copyFile, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import type { Config } from '../config.ts';

const COMMIT = /^[0-9a-f]{40}$/;

/** `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`. */
export function hubCacheFolder({ hfHubCache, hfHome }: Pick<Config, 'hfHubCache' | 'hfHome'>): string {
  return hfHubCache ?? join(hfHome ?? join(homedir(), '.cache', 'huggingface'), 'hub');
}

/** One model repository in the cache. */
export class CachedRepo {
  readonly folder: string;

  constructor(cacheFolder: string, repo: string) {
    this.folder = join(cacheFolder, `models--${repo.replaceAll('/', '--')}`);
  }

  snapshotFolder(commit: string): string {
    return join(this.folder, 'snapshots', commit);
  }

  blobFile(etag: string): string {
    return join(this.folder, 'blobs', etag);
  }

  /** The commit a branch or tag stood for when it was last downloaded. */
  async commitOf(revision: string): Promise<string | undefined> {
    if (COMMIT.test(revision)) return revision;
    const text = await readText(join(this.folder, 'refs', revision));
    return text !== undefined && COMMIT.test(text.trim()) ? text.trim() : undefined;
  }

  async writeRef(revision: string, commit: string): Promise<void> {
    if (COMMIT.test(revision)) return;
    await writeWhole(join(this.folder, 'refs', revision), commit);
  }

  /** Makes a finished blob appear in the snapshot, by a link where the disk has links. */
  async link(commit: string, path: string, etag: string): Promise<void> {
    const [blob, place] = [this.blobFile(etag), join(this.snapshotFolder(commit), path)];
    await mkdir(dirname(place), { recursive: true });
    await rm(place, { force: true });
    try {
      await symlink(relative(dirname(place), blob), place);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return;
      await copyFile(blob, place);
    }
  }

  /**
   * The files that a complete download for one choice of graph left, if all are still there. Written last, so that a
   * download that stopped in the middle is never taken for a model.
   */
  async completeFiles(commit: string, choice: string): Promise<string[] | undefined> {
    const text = await readText(this.#record(commit, choice));
    if (text === undefined) return undefined;
    const { files } = JSON.parse(text) as { files: string[] };
    const there = await Promise.all(files.map((path) => exists(join(this.snapshotFolder(commit), path))));
    return there.every(Boolean) ? files : undefined;
  }

  async writeComplete(commit: string, choice: string, files: readonly string[]): Promise<void> {
    await writeWhole(this.#record(commit, choice), JSON.stringify({ files }));
  }

  /** Beside the folders that other tools know, and out of their way. */
  #record(commit: string, choice: string): string {
    return join(this.folder, 'trivec', commit, `${choice}.json`);
  }

  /** What lies in a snapshot, whoever put it there. */
  async list(commit: string): Promise<string[]> {
    const folder = this.snapshotFolder(commit);
    const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
    const paths = entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll('\\', '/'));
    const there = await Promise.all(paths.map((path) => exists(join(folder, path))));
    return paths.filter((_, index) => there[index]);
  }
}

export function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

async function readText(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined);
}

async function writeWhole(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const half = `${path}.${process.pid}.tmp`;
  await writeFile(half, text);
  await rename(half, path);
}
