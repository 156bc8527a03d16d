/** The files that a model consists of, and which of them its fingerprint reads. */
import { dirname, join, resolve } from 'node:path';
import type { GraphInspection } from '../onnx/inspect.ts';
import { COLBERT_HEAD_FILE, SPARSE_HEAD_FILE } from '../onnx/m3Heads.ts';
import type { RewriteManifest } from '../onnx/rewriteManifest.ts';
import type { ModelFiles } from './folderFiles.ts';

export interface ModelParts {
  files: string[];
  /** All of them; where trivec made the weights itself, the recipe stands for the files with weights. */
  hashed: string[];
  recipe?: string;
}

export function modelParts(
  folder: string,
  files: ModelFiles,
  { externalFiles }: GraphInspection,
  headsFolder: string | undefined,
  manifest: RewriteManifest | undefined,
): ModelParts {
  const external = externalFiles.map(({ location }) => join(dirname(files.graph), location)).sort();
  const heads = headsFolder === undefined ? [] : [SPARSE_HEAD_FILE, COLBERT_HEAD_FILE];
  const all = [
    files.graph,
    ...(files.config === undefined ? [] : [files.config]),
    files.tokenizer,
    ...external,
    ...heads.map((file) => join(headsFolder ?? '', file)),
  ];
  if (manifest === undefined || resolve(folder, manifest.modelFile) !== resolve(files.graph))
    return { files: all, hashed: all };
  const weights = new Set([files.graph, ...external]);
  return { files: all, hashed: all.filter((path) => !weights.has(path)), recipe: manifest.recipe };
}
