/** A model folder rewritten once and reused: whole or not there, rebuilt when its source or the rewriter changed. */
import { createHash, randomBytes } from 'node:crypto';
import { copyFile, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { TrivecError } from '../errors.ts';
import { toStorageError } from './dataFileWriter.ts';
import { waitForLock } from './fileLock.ts';
import { inspectModelFile } from './inspect.ts';
import { REWRITER_VERSION, type RewriteOptions, type RewriteReport, rewriteModelFile } from './quantize.ts';
import { describeFile, type SourceFile, SourceFileSchema, sameFile } from './sourceFile.ts';

const MANIFEST_FILE = 'trivec-rewrite.json';

const ManifestSchema = Type.Object({
  rewriter: Type.Integer(),
  dtype: Type.String(),
  modelFile: Type.String(),
  /** Of the sample texts' ids. */
  samples: Type.String(),
  source: Type.Array(SourceFileSchema),
  files: Type.Array(Type.Object({ path: Type.String(), bytes: Type.Integer() })),
  report: Type.Object({
    dtype: Type.String(),
    matrices: Type.Integer(),
    vocabulary: Type.Enum(['fp32', 'fp16', 'int8']),
    sourceBytes: Type.Integer(),
    bytes: Type.Integer(),
  }),
});
type Manifest = Static<typeof ManifestSchema>;

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
 * Throws what rewriteModelFile throws, and `storage_unavailable` when the target can't be written.
 */
export async function quantizeModelFolder(
  sourceFolder: string,
  modelFile: string,
  targetFolder: string,
  options: RewriteOptions,
): Promise<QuantizedFolder> {
  try {
    await mkdir(dirname(targetFolder), { recursive: true });
    const lock = await waitForLock(`${targetFolder}.lock`, options.signal);
    try {
      const paths = await sourcePaths(sourceFolder, modelFile);
      const current = await findCurrent(sourceFolder, paths, modelFile, targetFolder, options);
      const report = current ?? (await build(sourceFolder, paths, modelFile, targetFolder, options));
      return {
        folder: targetFolder,
        modelPath: join(targetFolder, modelFile),
        reused: current !== undefined,
        report,
      };
    } finally {
      lock.close();
    }
  } catch (error) {
    throw toTargetError(error, targetFolder);
  }
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
  options: RewriteOptions,
): Promise<RewriteReport | undefined> {
  const manifest = await readManifest(targetFolder);
  if (manifest === undefined) return undefined;
  const wanted = [...paths.model, ...paths.copied];
  const fits =
    manifest.rewriter === REWRITER_VERSION &&
    manifest.dtype === options.dtype &&
    manifest.samples === digestOf(options.samples) &&
    manifest.modelFile === modelFile &&
    manifest.source.length === wanted.length &&
    manifest.source.every(({ path }, index) => path === wanted[index]);
  if (!fits) return undefined;
  for (const { path, bytes } of manifest.files)
    if ((await sizeOf(join(targetFolder, path))) !== bytes) return undefined;
  for (const known of manifest.source) if (!(await sameFile(sourceFolder, known))) return undefined;
  return manifest.report;
}

function digestOf(samples: RewriteOptions['samples'] = []): string {
  return createHash('sha256').update(JSON.stringify(samples)).digest('hex');
}

async function readManifest(folder: string): Promise<Manifest | undefined> {
  try {
    const manifest: unknown = JSON.parse(await readFile(join(folder, MANIFEST_FILE), 'utf8'));
    return Value.Check(ManifestSchema, manifest) ? manifest : undefined;
  } catch {
    return undefined;
  }
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
  options: RewriteOptions,
): Promise<RewriteReport> {
  await removeLeftovers(targetFolder);
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
    const files = [];
    for (const path of [modelFile, `${modelFile}_data`, ...paths.copied])
      files.push({ path, bytes: (await stat(join(work, path))).size });
    const manifest: Manifest = {
      rewriter: REWRITER_VERSION,
      dtype: options.dtype,
      modelFile,
      samples: digestOf(options.samples),
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
