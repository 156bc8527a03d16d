import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from '../config.ts';
import { TrivecError } from '../errors.ts';

/** Models that come with trivec, by the name they are asked for. */
const BUILT_IN: Readonly<Record<string, string>> = {
  'trivec-mini': fileURLToPath(new URL('../../../../models/mini', import.meta.url)),
};

export interface LocatedModel {
  /** As configured; a folder outside MODELS_DIR goes by its own trivec.json or its last part. */
  name: string | undefined;
  folder: string;
}

/**
 * A built-in name, a name in MODELS_DIR, or the path of a folder (with a `/` or a leading `.`).
 * For configured values only: a request never gets here. Throws `invalid_model` naming what there is.
 */
export async function locateModel(
  name: string,
  config: Pick<Config, 'modelsDir'> = { modelsDir: undefined },
): Promise<LocatedModel> {
  const builtIn = Object.hasOwn(BUILT_IN, name) ? BUILT_IN[name] : undefined;
  if (builtIn !== undefined && (await isFolder(builtIn))) return { name, folder: builtIn };
  const isPath = name.startsWith('.') || name.startsWith('/') || /^[A-Za-z]:[\\/]/.test(name);
  if (!isPath && config.modelsDir !== undefined && !name.includes('..')) {
    const folder = join(config.modelsDir, name);
    if (await isFolder(folder)) return { name, folder };
  }
  if ((isPath || name.includes('/')) && (await isFolder(name)))
    return { name: undefined, folder: resolve(name) };
  const known = [...Object.keys(BUILT_IN), ...(await namesIn(config.modelsDir))];
  throw new TrivecError(
    'invalid_model',
    `There is no model ${name}; known are ${known.join(', ')}, or a folder's path.`,
    {
      param: 'MODEL',
    },
  );
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

async function namesIn(folder: string | undefined): Promise<string[]> {
  if (folder === undefined) return [];
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort();
}
