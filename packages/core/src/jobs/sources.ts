import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, realpath, stat } from 'node:fs/promises';
import { resolve, sep } from 'node:path';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { TrivecError } from '../errors.ts';
import type { BlobStore } from '../storage/blobStore.ts';
import type { DocumentSource, ServerSource } from './serviceTypes.ts';

/** Where clients' own objects lie in the storage: `imports/<owner>/…`. */
const IMPORTS_PREFIX = 'imports/';

const NAMES = /\.(ndjson|jsonl)(\.gz)?$/;
const MAX_OBJECTS = 100_000;

export interface SourceDeps {
  storage: BlobStore;
  config: { sourceDirs: readonly string[] };
}

/**
 * NDJSON that the server reads itself, gzipped where the name ends in `.gz`: an object or all objects under a prefix of
 * the owner's folder in the storage, or a file under one of SOURCE_DIRS. Nothing is opened before it is read, and only
 * one at a time. Throws `invalid_request` for what is not there or not allowed: one answer for both, so that nobody
 * finds out what lies elsewhere.
 */
export function openSource(deps: SourceDeps, owner: string, source: ServerSource): DocumentSource {
  if ('file' in source) return { format: 'files', files: oneFile(deps.config.sourceDirs, source.file) };
  return { format: 'files', files: objects(deps.storage, owner, source) };
}

async function* oneFile(folders: readonly string[], path: string) {
  const handle = await openAllowed(folders, path);
  try {
    checkName(path);
    yield { name: path, body: inflated(path, handle.createReadStream({ autoClose: false })) };
  } finally {
    await handle.close();
  }
}

async function openAllowed(folders: readonly string[], path: string): Promise<FileHandle> {
  if (folders.length === 0)
    throw new TrivecError('invalid_request', 'source.file: this server has no SOURCE_DIRS.', {
      param: 'source.file',
    });
  for (const folder of folders) {
    const handle = await openUnder(folder, resolve(folder, path)).catch(() => undefined);
    if (handle !== undefined) return handle;
  }
  throw new TrivecError('invalid_request', 'source.file: there is no such file under SOURCE_DIRS.', {
    param: 'source.file',
  });
}

/**
 * Looked at before it is opened, because opening alone may do something (a device), and again when it is open: what is
 * read is what was checked, whatever is renamed meanwhile.
 */
async function openUnder(folder: string, path: string): Promise<FileHandle | undefined> {
  const before = await realPathUnder(folder, path);
  if (before === undefined || !(await stat(before)).isFile()) return undefined;
  // Without O_NONBLOCK, opening a pipe would wait for a writer.
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const [opened, real] = await Promise.all([handle.stat(), realPathUnder(folder, path)]);
    if (real !== undefined && opened.isFile() && isSame(opened, await stat(real))) return handle;
  } catch {
    // not there any more: as if it had never been
  }
  await handle.close();
  return undefined;
}

async function realPathUnder(folder: string, path: string): Promise<string | undefined> {
  const [real, root] = await Promise.all([realpath(path), realpath(folder)]);
  return real.startsWith(root.endsWith(sep) ? root : root + sep) ? real : undefined;
}

function isSame(a: Stats, b: Stats): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}

async function* objects(storage: BlobStore, owner: string, source: { object: string } | { prefix: string }) {
  const param = 'object' in source ? 'source.object' : 'source.prefix';
  const root = `${IMPORTS_PREFIX}${owner}/`;
  for (const key of await findKeys(storage, root, source, param)) {
    const body = await storage.stream(key);
    if (body === undefined) throw missing(param);
    yield { name: key.slice(root.length), body: inflated(key, body) };
  }
}

async function findKeys(
  storage: BlobStore,
  root: string,
  source: { object: string } | { prefix: string },
  param: string,
): Promise<string[]> {
  const wanted = 'object' in source ? source.object : source.prefix;
  const segments = `${root}${wanted.replace(/\/$/, '')}`.split('/');
  // The rules of storage keys: no `.` or `..`, nothing that begins with a dot.
  if (!segments.every((segment) => /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$/.test(segment)))
    throw new TrivecError(
      'invalid_request',
      `${param} must be names of letters, digits, dot, dash and underscore between slashes.`,
      { param },
    );
  const path = segments.join('/');
  if ('object' in source) {
    checkName(path);
    return [path];
  }
  const keys: string[] = [];
  for await (const { key } of storage.list(`${path}/`)) {
    if (!NAMES.test(key)) continue;
    keys.push(key);
    if (keys.length > MAX_OBJECTS)
      throw new TrivecError('invalid_request', `${param} has more than ${MAX_OBJECTS} objects.`, { param });
  }
  if (keys.length === 0) throw missing(param);
  return keys.sort();
}

function missing(param: string): TrivecError {
  return new TrivecError(
    'invalid_request',
    `${param}: there is nothing of that name (*.ndjson or *.jsonl, each also .gz) in your folder of the storage.`,
    { param },
  );
}

function checkName(name: string): void {
  if (NAMES.test(name)) return;
  throw new TrivecError(
    'invalid_request',
    'source must be NDJSON: *.ndjson or *.jsonl, each also .gz. For CSV and Parquet there is trivec embed.',
    { param: 'source' },
  );
}

async function* inflated(name: string, body: Readable): AsyncGenerator<Uint8Array> {
  if (!name.endsWith('.gz')) {
    yield* body as AsyncIterable<Uint8Array>;
    return;
  }
  const gunzip = createGunzip();
  body.once('error', (error) => gunzip.destroy(error));
  try {
    yield* body.pipe(gunzip) as AsyncIterable<Uint8Array>;
  } finally {
    body.destroy();
    gunzip.destroy();
  }
}
