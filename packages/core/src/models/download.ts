/** One file over HTTP: resumed where it stopped, checked to the last bit, there under its name only when it is whole. */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pRetry, { AbortError } from 'p-retry';
import { TrivecError } from '../errors.ts';

export interface Download {
  url: string;
  /** Where the whole file will lie. */
  target: string;
  bytes: number;
  /** SHA-256 of the content (LFS), or git's SHA-1 of a blob, as hex: told apart by their length. */
  checksum: string;
  /** What to call it in messages. */
  name: string;
  headers: Record<string, string>;
  /** Called with the bytes there are so far, again and again. */
  onProgress: (bytes: number) => void;
  signal?: AbortSignal | undefined;
  /** Between attempts; tests make it short. */
  retryDelayMs?: number | undefined;
}

const ATTEMPTS = 6;
/** A connection that gives nothing for so long is cut and tried again. */
const IDLE_TIMEOUT_MS = 30_000;
const MAX_TOLD_WAIT_MS = 60_000;
/** A partial file that nobody has written to for so long belongs to nobody. */
const ABANDONED_MS = 2 * IDLE_TIMEOUT_MS;

/**
 * Throws `download_failed` when the server cannot be reached or breaks off again and again (what came is kept for the
 * next attempt), `invalid_model` for a 404 or a wrong checksum (what came is discarded), `invalid_config` where a token
 * is missing or refused, `storage_full`.
 */
export async function downloadFile(download: Download): Promise<void> {
  const { target, name } = download;
  await mkdir(dirname(target), { recursive: true });
  const partial = await adoptPartial(target);
  try {
    await pRetry(() => attempt(download, partial), {
      retries: ATTEMPTS - 1,
      minTimeout: download.retryDelayMs ?? 500,
      ...(download.signal && { signal: download.signal }),
    });
    await rename(partial, target);
  } catch (error) {
    await rename(partial, `${target}.incomplete`).catch(() => undefined);
    if (error instanceof TrivecError) throw error;
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw noSpace(name, dirname(target), error);
    throw new TrivecError(
      'download_failed',
      `${name} could not be downloaded: ${reasonOf(error)}. What has come is kept, and the next start goes on from there.`,
      { cause: error },
    );
  }
}

async function attempt(download: Download, partial: string): Promise<void> {
  try {
    await receive(download, partial);
  } catch (error) {
    const isFinal =
      error instanceof TrivecError || (error as NodeJS.ErrnoException | undefined)?.code === 'ENOSPC';
    if (isFinal) throw new AbortError(error as Error);
    throw error instanceof TypeError ? new Error(reasonOf(error), { cause: error }) : error;
  }
}

async function receive(download: Download, partial: string): Promise<void> {
  const { bytes, name, checksum } = download;
  let have = await sizeOf(partial);
  if (have > bytes) {
    await rm(partial, { force: true });
    have = 0;
  }
  const resumed = have > 0;
  const hash = hashFor(checksum, bytes);
  if (resumed) for await (const chunk of createReadStream(partial)) hash.update(chunk);
  if (have < bytes || bytes === 0) have = await fetchRest(download, partial, have, hash);
  if (have < bytes) throw new Error(`the connection ended after ${have} of ${bytes} bytes`);
  if (have === bytes && hash.digest('hex') === checksum) return;
  await rm(partial, { force: true });
  // What an earlier run left may be at fault: once more from the start.
  if (resumed) return receive(download, partial);
  throw new TrivecError(
    'invalid_model',
    `${name}: the checksum of what the hub sent is not the one it announces (${checksum}); it was discarded.`,
  );
}

/** Appends what is missing. Returns the bytes there are now. */
async function fetchRest(download: Download, partial: string, from: number, hash: Hash): Promise<number> {
  const idle = new AbortController();
  const timer = setTimeout(
    () => idle.abort(new Error(`nothing came for ${IDLE_TIMEOUT_MS / 1000} s`)),
    IDLE_TIMEOUT_MS,
  );
  const signals = [idle.signal, ...(download.signal ? [download.signal] : [])];
  let file: FileHandle | undefined;
  try {
    const response = await fetch(download.url, {
      headers: { ...download.headers, ...(from > 0 && { range: `bytes=${from}-` }) },
      signal: AbortSignal.any(signals),
    });
    if (!response.ok) {
      clearTimeout(timer);
      await response.body?.cancel();
      if (response.status === 429 || response.status >= 500)
        await waitAsTold(response.headers.get('retry-after'), download.signal);
    }
    refuseStatus(response, download.name);
    const isRest = response.status === 206;
    if (from > 0 && !isRest) {
      await response.body?.cancel();
      await rm(partial, { force: true });
      throw new Error('the server cannot resume; starting again');
    }
    file = await open(partial, 'a');
    let have = from;
    for await (const chunk of response.body ?? []) {
      timer.refresh();
      have += chunk.length;
      if (have > download.bytes) throw new Error(`more than ${download.bytes} bytes came`);
      hash.update(chunk);
      await file.appendFile(chunk);
      download.onProgress(have);
    }
    return have;
  } finally {
    clearTimeout(timer);
    await file?.close();
  }
}

/** What the hub asks for with a 429 or 503, within reason; the pause between attempts comes on top. */
async function waitAsTold(retryAfter: string | null, signal: AbortSignal | undefined): Promise<void> {
  const seconds = Number(retryAfter ?? 0);
  const waitMs = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(retryAfter ?? '') - Date.now();
  if (waitMs > 0) await sleep(Math.min(waitMs, MAX_TOLD_WAIT_MS), undefined, signal ? { signal } : {});
}

/** Throws for a status that is not a file. One that may pass is a plain error, which is tried again. */
export function refuseStatus({ status, ok }: Pick<Response, 'status' | 'ok'>, name: string): void {
  if (ok) return;
  if (status === 401 || status === 403)
    throw new TrivecError(
      'invalid_config',
      `${name}: the hub answers ${status}. The model is not there, private or gated: check its name, or set HF_TOKEN to a token of an account that has been granted access.`,
      { param: 'HF_TOKEN' },
    );
  if (status === 404)
    throw new TrivecError('invalid_model', `${name}: the hub has no such model, revision or file (404).`, {
      param: 'MODEL',
    });
  if (status === 429)
    throw new Error('the hub answers 429: too many requests from here; with HF_TOKEN it allows more');
  throw new Error(`the hub answers ${status}`);
}

function hashFor(checksum: string, bytes: number): Hash {
  return checksum.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${bytes}\0`);
}

/** This process's own partial file, carrying on with one that nobody writes to any more. */
async function adoptPartial(target: string): Promise<string> {
  const own = `${target}.${hostname()}-${process.pid}.incomplete`;
  const prefix = `${basename(target)}.`;
  for (const name of (await readdir(dirname(target))).sort()) {
    if (!name.startsWith(prefix) || !name.endsWith('.incomplete')) continue;
    const found = join(dirname(target), name);
    if (found === own) return own;
    if (!(await isAbandoned(found, name.slice(prefix.length)))) continue;
    try {
      await rename(found, own);
      return own;
    } catch {
      // Another process was quicker: it has that one.
    }
  }
  return own;
}

async function isAbandoned(path: string, rest: string): Promise<boolean> {
  if (rest === 'incomplete') return true;
  const here = `${hostname()}-`;
  if (rest.startsWith(here) && !isAlive(Number(rest.slice(here.length).split('.')[0]))) return true;
  const found = await stat(path).catch(() => undefined);
  return found !== undefined && Date.now() - found.mtimeMs > ABANDONED_MS;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}

export function noSpace(name: string, folder: string, cause?: unknown): TrivecError {
  return new TrivecError('storage_full', `${name} does not fit: no space left in ${folder}.`, { cause });
}

function reasonOf(error: unknown): string {
  const inner = (error as { cause?: unknown }).cause;
  const message = error instanceof Error ? error.message : String(error);
  return inner instanceof Error && message === 'fetch failed' ? inner.message : message;
}
