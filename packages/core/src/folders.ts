import { mkdirSync, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { TrivecError } from './errors.ts';

/**
 * Makes the folder and those above it where they are missing, by hand: `mkdir` with `recursive` tries for ever where a
 * folder is there and takes no new one (/proc). Throws what the file system says.
 */
export function makeFolder(path: string, mode = 0o777): void {
  if (tryToMake(path, mode)) return;
  const above = dirname(resolve(path));
  if (above !== resolve(path) && !isFolder(above)) makeFolder(above, mode);
  // What was missing is there now, made here or by another process that starts at the same moment.
  if (!tryToMake(path, mode)) mkdirSync(path, { mode });
}

/** False where a folder above it is missing. */
function tryToMake(path: string, mode: number): boolean {
  try {
    mkdirSync(path, { mode });
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return false;
    if (code === 'EEXIST' && isFolder(path)) return true;
    throw error;
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** For a folder that an option names and somebody else fills. Throws `invalid_config` with both. */
export async function requireFolder(option: string, path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory() === true) return;
  const problem = found === undefined ? 'there is no folder' : 'this is no folder:';
  throw new TrivecError('invalid_config', `${option}: ${problem} ${resolve(path)}.`, { param: option });
}

const REASONS: Partial<Record<string, string>> = {
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'the file system is read-only',
  ENOENT: 'it cannot be made there',
  ENOTDIR: 'a part of the path is a file',
  EEXIST: 'there is a file of this name',
  ELOOP: 'its links lead in a circle',
  ENAMETOOLONG: 'the name is too long',
};

/**
 * `invalid_config` with option and path where the folder cannot be had however often it is tried; undefined for errors
 * that may heal by themselves.
 */
export function unusableFolder(option: string, path: string, error: unknown): TrivecError | undefined {
  const reason = REASONS[(error as NodeJS.ErrnoException).code ?? ''];
  if (reason === undefined) return undefined;
  return new TrivecError(
    'invalid_config',
    `${option}: the folder ${resolve(path)} cannot be used: ${reason}.`,
    { param: option, cause: error },
  );
}
