/** A model folder rewritten once and reused: whole or not there, rebuilt when its source or the rewriter changed. */
import { createHash, randomBytes } from 'node:crypto';
import { copyFile, mkdir, readdir, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { TrivecError } from '../errors.ts';
import { toStorageError } from './dataFileWriter.ts';
import { waitForLock } from './fileLock.ts';
import { inspectModelFile } from './inspect.ts';
import { REWRITER_VERSION, type RewriteOptions, type RewriteReport, rewriteModelFile } from './quantize.ts';
import { MANIFEST_FILE, type RewriteManifest, readManifest } from './rewriteManifest.ts';
import { describeFile, type SourceFile, sameFile } from './sourceFile.ts';

export interface QuantizeFolderOptions extends RewriteOptions {
  /** Text files to be written beside the model, by their name; they go before a copy of the source's. */
  written?: Readonly<Record<string, string>>;
}

export interface QuantizedFolder {
  folder: string;
  /** The graph file, absolute or as `folder` was given. */
  modelPath: string;
  /** True when an earlier run's files were found whole and current. */
  reused: boolean;
  report: RewriteReport;
}

/**
 * Rewrites the model `modelFile` (relative to `sourceFolder`) into `targetFolder`, under the same relative name,
 * with the small files beside it (tokenizer, configuration, heads), unless that was done before from the same
 * files. Of several processes one works and the others wait for its result.
 * A target that exists is replaced as a whole, so it must be empty or an earlier result.
 * Throws what rewriteModelFile throws, `invalid_config` for another target, and `storage_unavailable` when the target
 * can't be written.
 */
export async function quantizeModelFolder(
  sourceFolder: string,
  modelFile: string,
  targetFolder: string,
  options: QuantizeFolderOptions,
): Promise<QuantizedFolder> {
  try {
    await checkTarget(sourceFolder, targetFolder);
    await mkdir(dirname(targetFolder), { recursive: true });
    const lock = await waitForLock(`${targetFolder}.lock`, options.signal);
    try {
      // Whoever held the lock may have made it.
      const made = await findQuantizedFolder(sourceFolder, modelFile, targetFolder, options);
      if (made !== undefined) return made;
      const paths = await sourcePaths(sourceFolder, modelFile);
      const report = await build(sourceFolder, paths, modelFile, targetFolder, options);
      return { folder: targetFolder, modelPath: join(targetFolder, modelFile), reused: false, report };
    } finally {
      lock.close();
    }
  } catch (error) {
    throw toTargetError(error, targetFolder);
  }
}

/** An earlier result that is whole and current; it is only read. */
export async function findQuantizedFolder(
  sourceFolder: string,
  modelFile: string,
  targetFolder: string,
  options: QuantizeFolderOptions,
): Promise<QuantizedFolder | undefined> {
  const paths = await sourcePaths(sourceFolder, modelFile);
  const report = await findCurrent(sourceFolder, paths, modelFile, targetFolder, options);
  if (report === undefined) return undefined;
  return { folder: targetFolder, modelPath: join(targetFolder, modelFile), reused: true, report };
}

/** Nothing but an earlier result may be replaced: a folder given by mistake would be lost. */
async function checkTarget(sourceFolder: string, targetFolder: string): Promise<void> {
  const refuse = (problem: string) =>
    new TrivecError('invalid_config', `The rewritten model can't be put into ${targetFolder}: ${problem}.`);
  const real = (path: string) => realpath(path).catch(() => resolve(path));
  const [source, target] = [await real(sourceFolder), await real(targetFolder)];
  if (source === target) throw refuse("it is the model's own folder");
  if (source.startsWith(target.endsWith(sep) ? target : target + sep)) throw refuse('the model lies in it');
  const names = await readdir(targetFolder).catch((error: NodeJS.ErrnoException): string[] => {
    if (error.code === 'ENOENT') return [];
    throw error.code === 'ENOTDIR' ? refuse('it is a file') : error;
  });
  if (names.length > 0 && !names.includes(MANIFEST_FILE))
    throw refuse(`it holds other files (${names.slice(0, 3).join(', ')}) and no ${MANIFEST_FILE}`);
}

function toTargetError(error: unknown, targetFolder: string): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'EACCES' || code === 'EROFS' || code === 'EPERM'
    ? new TrivecError(
        'storage_unavailable',
        `The rewritten model can't be written to ${targetFolder}: ${code}.`,
        { cause: error },
      )
    : toStorageError(error);
}

/** Everything the result depends on: the graph, its data files, and the small files that are copied. */
async function sourcePaths(sourceFolder: string, modelFile: string): Promise<SourcePaths> {
  const { externalFiles } = await inspectModelFile(join(sourceFolder, modelFile));
  const data = externalFiles.map(({ location }) => join(dirname(modelFile), location));
  const folders = new Set(['.', '1_Pooling', dirname(modelFile)]);
  const copied: string[] = [];
  for (const folder of folders)
    for (const name of await readdir(join(sourceFolder, folder)).catch(() => []))
      if (COPIED_FILES.test(name) && name !== MANIFEST_FILE) copied.push(join(folder, name));
  return { model: [modelFile, ...data], copied: copied.sort() };
}

interface SourcePaths {
  model: string[];
  copied: string[];
}

const COPIED_FILES = /\.(json|txt|model|jinja|md)$|^(LICENSE|NOTICE)|^(sparse|colbert)_linear\.pt$/;

async function findCurrent(
  sourceFolder: string,
  paths: SourcePaths,
  modelFile: string,
  targetFolder: string,
  options: QuantizeFolderOptions,
): Promise<RewriteReport | undefined> {
  const manifest = await readManifest(targetFolder);
  if (manifest === undefined) return undefined;
  const wanted = [...paths.model, ...paths.copied];
  const fits =
    manifest.rewriter === REWRITER_VERSION &&
    manifest.dtype === options.dtype &&
    manifest.settings === digestOf(options) &&
    manifest.modelFile === modelFile &&
    manifest.source.length === wanted.length &&
    manifest.source.every(({ path }, index) => path === wanted[index]);
  if (!fits) return undefined;
  for (const { path, bytes } of manifest.files)
    if ((await sizeOf(join(targetFolder, path))) !== bytes) return undefined;
  for (const known of manifest.source) if (!(await sameFile(sourceFolder, known))) return undefined;
  return manifest.report;
}

function digestOf({ samples = [], written = {} }: QuantizeFolderOptions): string {
  return createHash('sha256')
    .update(JSON.stringify([samples, written]))
    .digest('hex');
}

function recipeOf({ dtype, samples = [] }: RewriteOptions, model: readonly SourceFile[]): string {
  const contents = model.map(({ bytes, sha256 }) => [bytes, sha256]);
  return createHash('sha256')
    .update(JSON.stringify([REWRITER_VERSION, dtype, samples, contents]))
    .digest('hex');
}

async function sizeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.size;
}

/** Works in a folder of its own and renames it when everything is on the disk. Called under the lock. */
async function build(
  sourceFolder: string,
  paths: SourcePaths,
  modelFile: string,
  targetFolder: string,
  options: QuantizeFolderOptions,
): Promise<RewriteReport> {
  await removeLeftovers(targetFolder);
  const { written = {} } = options;
  const work = `${targetFolder}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await mkdir(dirname(join(work, modelFile)), { recursive: true });
    const source: SourceFile[] = [];
    for (const path of [...paths.model, ...paths.copied]) source.push(await describeFile(sourceFolder, path));
    const report = await rewriteModelFile(join(sourceFolder, modelFile), join(work, modelFile), options);
    for (const path of paths.copied) {
      await mkdir(dirname(join(work, path)), { recursive: true });
      await copyFile(join(sourceFolder, path), join(work, path));
    }
    for (const [name, text] of Object.entries(written)) await writeFile(join(work, name), text);
    const files = [];
    const made = [modelFile, `${modelFile}_data`, ...paths.copied, ...Object.keys(written)];
    for (const path of new Set(made)) files.push({ path, bytes: (await stat(join(work, path))).size });
    const manifest: RewriteManifest = {
      rewriter: REWRITER_VERSION,
      dtype: options.dtype,
      modelFile,
      settings: digestOf(options),
      recipe: recipeOf(options, source.slice(0, paths.model.length)),
      source,
      files,
      report,
    };
    await writeFile(join(work, MANIFEST_FILE), `${JSON.stringify(manifest, null, 2)}\n`, { flush: true });
    await rm(targetFolder, { recursive: true, force: true });
    await rename(work, targetFolder);
    return report;
  } catch (error) {
    await rm(work, { recursive: true, force: true });
    throw error;
  }
}

/** What a run that was killed left behind; nobody else works here while we hold the lock. */
async function removeLeftovers(targetFolder: string): Promise<void> {
  const parent = dirname(targetFolder);
  const prefix = `${basename(targetFolder)}.`;
  for (const name of await readdir(parent))
    if (name.startsWith(prefix) && name.endsWith('.tmp'))
      await rm(join(parent, relative('', name)), { recursive: true, force: true });
}
