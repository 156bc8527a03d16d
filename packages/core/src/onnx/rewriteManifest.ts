/** What a rewritten folder says of itself: how it was made, from what, and which files it must hold. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { SourceFileSchema } from './sourceFile.ts';

export const MANIFEST_FILE = 'trivec-rewrite.json';

const ManifestSchema = Type.Object({
  rewriter: Type.Integer(),
  dtype: Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,31}$' }),
  modelFile: Type.String(),
  /** Digest of the sample texts' ids and of the files that were written rather than copied. */
  settings: Type.String(),
  /**
   * Digest of the weights' source, the samples, the precision and the rewriter. Processors round a few codes
   * differently, so the bytes of two machines' results may differ where the recipe is the same.
   */
  recipe: Type.String(),
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
export type RewriteManifest = Static<typeof ManifestSchema>;

/** Undefined where there is none, or one that was cut short or written by another version. */
export async function readManifest(folder: string): Promise<RewriteManifest | undefined> {
  try {
    const manifest: unknown = JSON.parse(await readFile(join(folder, MANIFEST_FILE), 'utf8'));
    return Value.Check(ManifestSchema, manifest) ? manifest : undefined;
  } catch {
    return undefined;
  }
}
