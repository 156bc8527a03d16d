import { open } from 'node:fs/promises';

/**
 * Makes renames into a folder survive a power cut. Puts into one folder come in crowds: those that ask
 * while a sync runs share the next one.
 */
export class FolderSync {
  private readonly folders = new Map<string, { running: Promise<void>; next?: Promise<void> }>();

  /** Resolves when everything that happened in `folder` before the call is on disk. */
  sync(folder: string): Promise<void> {
    const current = this.folders.get(folder);
    if (current === undefined) return this.start(folder);
    current.next ??= current.running.then(
      () => this.start(folder),
      () => this.start(folder),
    );
    return current.next;
  }

  private start(folder: string): Promise<void> {
    const entry: { running: Promise<void>; next?: Promise<void> } = { running: syncFolder(folder) };
    this.folders.set(folder, entry);
    const forget = () => {
      if (this.folders.get(folder) === entry && entry.next === undefined) this.folders.delete(folder);
    };
    entry.running.then(forget, forget);
    return entry.running;
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
