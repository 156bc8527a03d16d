/** Models from the hub: found in its cache, or downloaded into it. */
import { mkdir, statfs } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { HubApiError, listFiles, modelInfo } from '@huggingface/hub';
import pRetry from 'p-retry';
import type { Config } from '../config.ts';
import { TrivecError } from '../errors.ts';
import { inspectGraph, readModelFile } from '../onnx/inspect.ts';
import { downloadFile, noSpace, refuseStatus } from './download.ts';
import { chooseGraph, companionsOf, type GraphChoice } from './graphFile.ts';
import { CachedRepo, exists, hubCacheFolder } from './hubCache.ts';

export type HubConfig = Pick<Config, 'hfHubCache' | 'hfHome' | 'hfToken' | 'hfEndpoint' | 'hfHubOffline'>;

export interface HubModel {
  repo: string;
  /** A branch, a tag or a commit. */
  revision: string;
  choice: GraphChoice;
  /** A name of the catalog that is near to `repo`, for the errors of one that is not there. */
  meant?: string;
}

export interface HubFolder {
  /** The snapshot's folder. */
  folder: string;
  commit: string;
  /** Relative, as chosen. */
  graph: string;
}

export interface Progress {
  file: string;
  bytes: number;
  totalBytes: number;
}

export interface PullOptions {
  onProgress?: ((progress: Progress) => void) | undefined;
  signal?: AbortSignal | undefined;
  retryDelayMs?: number | undefined;
}

const LIST_RETRIES = 4;

interface RemoteFile {
  bytes: number;
  checksum: string;
}

/** What is in the cache whole, without asking the hub; `undefined` where something is missing. */
export async function findCached(model: HubModel, config: HubConfig): Promise<HubFolder | undefined> {
  const cached = new CachedRepo(hubCacheFolder(config), model.repo);
  const commit = await cached.commitOf(model.revision);
  if (commit === undefined) return undefined;
  const folder = cached.snapshotFolder(commit);
  const recorded = await cached.completeFiles(commit, recordName(model.choice));
  // Another tool may have put the files there.
  const paths = recorded ?? (config.hfHubOffline ? await cached.list(commit) : []);
  if (paths.length === 0) return undefined;
  return { folder, commit, graph: chooseGraph(paths, model.choice, model.repo) };
}

/**
 * Downloads what the model needs and the cache lacks. Every file is checked against the size and the checksum that the hub
 * states. Throws what `downloadFile` throws.
 */
export async function pullModel(
  model: HubModel,
  config: HubConfig,
  options: PullOptions = {},
): Promise<HubFolder> {
  const { repo, revision, choice } = model;
  if (config.hfHubOffline)
    throw new TrivecError(
      'invalid_model',
      `${repo} is not complete in ${hubCacheFolder(config)}, and HF_HUB_OFFLINE forbids downloading it.${hintOf(model)}`,
      { param: 'HF_HUB_OFFLINE' },
    );
  const cached = new CachedRepo(hubCacheFolder(config), repo);
  const { commit, files } = await pRetry(() => askHub(model, config), {
    retries: LIST_RETRIES,
    minTimeout: options.retryDelayMs ?? 1_000,
    shouldRetry: ({ error }) => isPassing(error),
    ...(options.signal && { signal: options.signal }),
  });
  const paths = [...files.keys()];
  const graph = chooseGraph(paths, choice, repo);
  const got: string[] = [];
  const get = async (wanted: readonly string[]): Promise<void> => {
    await refuseFullDisk(cached, wanted, files, repo);
    for (const path of wanted) {
      await getFile(cached, model, config, { path, commit, ...files.get(path)! }, options);
      got.push(path);
    }
  };
  await get([graph, ...companionsOf(paths, graph)]);
  await get(await dataFilesOf(cached.snapshotFolder(commit), graph, files, repo));
  await cached.writeRef(revision, commit);
  await cached.writeComplete(commit, recordName(choice), got);
  return { folder: cached.snapshotFolder(commit), commit, graph };
}

/** The hub is busy, or limits how often it may be asked. */
function isPassing({ cause }: Error): boolean {
  return cause instanceof HubApiError && (cause.statusCode === 429 || cause.statusCode >= 500);
}

function hintOf({ meant }: HubModel): string {
  return meant === undefined ? '' : ` Did you mean ${meant}?`;
}

async function askHub(
  model: HubModel,
  config: HubConfig,
): Promise<{ commit: string; files: Map<string, RemoteFile> }> {
  const { repo, revision } = model;
  const access = {
    hubUrl: endpointOf(config),
    ...(config.hfToken !== undefined && { accessToken: config.hfToken }),
  };
  try {
    const { sha } = await modelInfo({ name: repo, revision, additionalFields: ['sha'], ...access });
    const files = new Map<string, RemoteFile>();
    for await (const { type, path, size, oid, lfs } of listFiles({
      repo,
      revision: sha,
      recursive: true,
      ...access,
    }))
      if (type === 'file' && isInside(path))
        files.set(path, { bytes: lfs?.size ?? size, checksum: lfs?.oid ?? oid ?? '' });
    return { commit: sha, files };
  } catch (error) {
    throw withHint(unreachable(error, `${repo} (${revision})`, config), hintOf(model));
  }
}

function withHint(error: unknown, hint: string): unknown {
  if (hint === '' || !(error instanceof TrivecError)) return error;
  const { code, message, param, cause } = error;
  return new TrivecError(code, message + hint, { cause, ...(param !== undefined && { param }) });
}

function unreachable(error: unknown, name: string, { hfEndpoint }: HubConfig): unknown {
  let reason = error;
  if (error instanceof HubApiError) {
    try {
      refuseStatus({ status: error.statusCode, ok: false }, name);
    } catch (refusal) {
      reason = refusal;
    }
  }
  if (reason instanceof TrivecError) return reason;
  const { message, cause } = reason as Error;
  const why = cause instanceof Error ? cause.message || String(cause) : message;
  return new TrivecError('download_failed', `${name}: ${hfEndpoint} cannot be asked: ${why}.`, {
    cause: error,
  });
}

function endpointOf({ hfEndpoint }: HubConfig): string {
  return hfEndpoint.replace(/\/+$/, '');
}

function isInside(path: string): boolean {
  return (
    !path.startsWith('/') && !path.includes('\\') && posix.normalize(path) === path && !path.startsWith('..')
  );
}

/** Data files are named inside the graph, relative to it. */
async function dataFilesOf(
  snapshot: string,
  graph: string,
  files: ReadonlyMap<string, RemoteFile>,
  repo: string,
): Promise<string[]> {
  const { externalFiles } = inspectGraph(await readModelFile(join(snapshot, graph)), `${repo}/${graph}`);
  return externalFiles.map(({ location }) => {
    const path = posix.join(posix.dirname(graph), location);
    if (files.has(path)) return path;
    throw new TrivecError(
      'invalid_model',
      `${repo}: ${graph} needs the data file ${path}, which the repository does not have.`,
    );
  });
}

async function getFile(
  cached: CachedRepo,
  { repo }: HubModel,
  config: HubConfig,
  { path, commit, bytes, checksum }: RemoteFile & { path: string; commit: string },
  { onProgress, signal, retryDelayMs }: PullOptions,
): Promise<void> {
  const name = `${repo}/${path}`;
  if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(checksum))
    throw new TrivecError('invalid_model', `${name}: the hub states no checksum for it.`);
  const target = cached.blobFile(checksum);
  if (!(await exists(target)))
    await downloadFile({
      url: `${endpointOf(config)}/${repo}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`,
      target,
      bytes,
      checksum,
      name,
      headers: {
        'user-agent': 'trivec',
        // What is packed on the way could not be resumed by the byte.
        'accept-encoding': 'identity',
        ...(config.hfToken !== undefined && { authorization: `Bearer ${config.hfToken}` }),
      },
      onProgress: (have) => onProgress?.({ file: path, bytes: have, totalBytes: bytes }),
      signal,
      retryDelayMs,
    });
  await cached.link(commit, path, checksum);
}

async function refuseFullDisk(
  cached: CachedRepo,
  wanted: readonly string[],
  files: ReadonlyMap<string, RemoteFile>,
  repo: string,
): Promise<void> {
  const blobs = dirname(cached.blobFile('x'));
  await mkdir(blobs, { recursive: true });
  let needed = 0;
  for (const path of wanted) {
    const file = files.get(path);
    if (file !== undefined && !(await exists(cached.blobFile(file.checksum)))) needed += file.bytes;
  }
  const { bavail, bsize } = await statfs(blobs);
  if (needed > bavail * bsize) throw noSpace(`${repo} (${Math.ceil(needed / 1024 ** 2)} MiB)`, blobs);
}

function recordName({ dtype, file }: GraphChoice): string {
  return file === undefined ? (dtype ?? 'any') : file.replaceAll('/', '_');
}
