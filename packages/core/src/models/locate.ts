import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from '../config.ts';
import { TrivecError } from '../errors.ts';
import { nearest } from '../nearest.ts';
import { type CatalogEntry, FILE_DTYPES, findInCatalog, readCatalog, shortName } from './catalog.ts';
import type { GraphChoice } from './graphFile.ts';
import type { HubModel } from './hub.ts';
import { publishedDtype } from './rewritten.ts';

/** Models that come with trivec, by the name they are asked for. */
export const BUILT_IN: Readonly<Record<string, string>> = {
  'trivec-mini': fileURLToPath(new URL('../../../../models/mini', import.meta.url)),
};

export interface LocatedModel {
  /** `undefined`: a folder goes by its own trivec.json or its last part. */
  name: string | undefined;
  /** Other names that requests may give. */
  aliases: readonly string[];
  /** On this machine; or `hub`, where it is still to be looked for in the hub's cache. */
  folder?: string;
  hub?: HubModel;
  choice: GraphChoice;
  stated?: CatalogEntry;
}

export type LocateConfig = Pick<Config, 'modelsDir' | 'modelsFile'> & {
  modelDtype?: Config['modelDtype'];
};

const HUB_ID = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/;

/**
 * A built-in name, a name in MODELS_DIR, the path of a folder, a catalog name, or a hub id.
 * For configured values only: a request never gets here. Reads no model. Throws `invalid_model` naming what there is,
 * or `invalid_config` for a mistake in MODELS_FILE or a precision that is not published.
 */
export async function locateModel(name: string, config: LocateConfig): Promise<LocatedModel> {
  const dtype = publishedDtype(config.modelDtype);
  const folder = await findFolder(name, config.modelsDir);
  if (folder !== undefined)
    return { name: folder.name, aliases: [basename(name)], folder: folder.path, choice: { dtype } };
  const catalog = await readCatalog(config.modelsFile);
  const entry = findInCatalog(catalog, name);
  if (entry !== undefined) return fromCatalog(entry, name, config.modelDtype);
  if (HUB_ID.test(name)) {
    const choice = { dtype };
    const meant = nearest(name, [...catalog.keys()]);
    return {
      name: withDtype(name, config.modelDtype),
      aliases: [name, shortName(name)],
      hub: { repo: name, revision: 'main', choice, ...(meant !== undefined && { meant }) },
      choice,
    };
  }
  if (isPath(name))
    throw new TrivecError('invalid_model', `MODEL: there is no folder ${resolve(name)}.`, { param: 'MODEL' });
  const known = [...Object.keys(BUILT_IN), ...(await namesIn(config.modelsDir)), ...catalog.keys()];
  throw new TrivecError(
    'invalid_model',
    `There is no model ${name}. ${didYouMean(name, known)}\`npx trivec models\` lists the names; a folder's path or a hub id like org/name will do, too.`,
    { param: 'MODEL' },
  );
}

function didYouMean(name: string, known: readonly string[]): string {
  // The first of a short name is the one that it stands for (findInCatalog).
  const short = new Map(known.toReversed().map((one) => [shortName(one), one]));
  const near = nearest(name, [...short.keys()]);
  return near === undefined ? '' : `Did you mean ${short.get(near)}? `;
}

async function findFolder(
  name: string,
  modelsDir: string | undefined,
): Promise<{ name: string | undefined; path: string } | undefined> {
  const builtIn = Object.hasOwn(BUILT_IN, name) ? BUILT_IN[name] : undefined;
  if (builtIn !== undefined && (await isFolder(builtIn))) return { name, path: builtIn };
  if (!isPath(name) && modelsDir !== undefined && !name.includes('..')) {
    const path = join(modelsDir, name);
    if (await isFolder(path)) return { name, path };
  }
  const isThere = (isPath(name) || name.includes('/')) && (await isFolder(name));
  return isThere ? { name: undefined, path: resolve(name) } : undefined;
}

function isPath(name: string): boolean {
  return name.startsWith('.') || name.startsWith('/') || /^[A-Za-z]:[\\/]/.test(name);
}

function fromCatalog(entry: CatalogEntry, asked: string, dtype: Config['modelDtype']): LocatedModel {
  const choice = chooseFrom(entry, publishedDtype(dtype));
  const common = {
    name: withDtype(entry.name, dtype),
    aliases: [asked, entry.name, shortName(entry.name)],
    choice,
    stated: entry,
  };
  if (entry.folder !== undefined) return { ...common, folder: entry.folder };
  return {
    ...common,
    hub: { repo: entry.repo ?? entry.name, revision: entry.revision ?? 'main', choice },
  };
}

function chooseFrom({ name, files }: CatalogEntry, dtype: GraphChoice['dtype']): GraphChoice {
  if (files === undefined) return { dtype };
  const published = FILE_DTYPES.filter((each) => files[each] !== undefined);
  const taken = dtype ?? published[0]!;
  const file = files[taken];
  if (file !== undefined) return { dtype: taken, file };
  throw new TrivecError(
    'invalid_config',
    `MODEL_DTYPE: ${name} is not published as ${taken}; there is ${published.join(', ')}${madeOf(published)}.`,
    { param: 'MODEL_DTYPE' },
  );
}

function madeOf(published: readonly string[]): string {
  return published.includes('fp32') ? ', and int8 and int8-precise are made from fp32' : '';
}

/** Vectors of another precision are other vectors: the name says so wherever they go. */
function withDtype(name: string, dtype: Config['modelDtype']): string {
  return dtype === undefined || dtype === 'fp32' ? name : `${name}@${dtype}`;
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

export async function namesIn(folder: string | undefined): Promise<string[]> {
  if (folder === undefined) return [];
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort();
}
