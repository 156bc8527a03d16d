/** A file as it was when something was made from it, and whether it still is. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Static, Type } from 'typebox';

export const SourceFileSchema = Type.Object({
  path: Type.String(),
  bytes: Type.Integer(),
  modifiedMs: Type.Number(),
  sha256: Type.String(),
});
export type SourceFile = Static<typeof SourceFileSchema>;

/** `path` is relative to `folder`. Reads the whole file. */
export async function describeFile(folder: string, path: string): Promise<SourceFile> {
  const { size, mtimeMs } = await stat(join(folder, path));
  return { path, bytes: size, modifiedMs: mtimeMs, sha256: await sha256Of(join(folder, path)) };
}

/** True for the same content. Size and time settle it where they can; a copied or touched file is read. */
export async function sameFile(folder: string, known: SourceFile): Promise<boolean> {
  const path = join(folder, known.path);
  const found = await stat(path).catch(() => undefined);
  if (found === undefined || found.size !== known.bytes) return false;
  return found.mtimeMs === known.modifiedMs || (await sha256Of(path)) === known.sha256;
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 4 * 1024 ** 2 }), hash);
  return hash.digest('hex');
}
