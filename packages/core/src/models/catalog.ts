/** The models that have a name: trivec's own list, and the user's in MODELS_FILE. */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type Static, Type } from 'typebox';
import { Value } from 'typebox/value';
import { TrivecError } from '../errors.ts';
import { POOLINGS } from '../vectors/headPlan.ts';
import { OUTPUTS } from '../vectors/types.ts';
import { MODEL_KINDS } from './modelInfo.ts';

/** The precisions that are published as files of their own. */
export const FILE_DTYPES = ['fp32', 'fp16', 'int8-dynamic'] as const;
export type FileDtype = (typeof FILE_DTYPES)[number];

/** A file inside a repository or folder: no absolute path, nothing above it. */
const FILE = Type.String({ pattern: '^(?!/)(?!.*(^|/)\\.\\.(/|$))[^\\\\\\0]+\\.onnx$' });
const REPO = Type.String({ pattern: '^[A-Za-z0-9][\\w.-]*(/[A-Za-z0-9][\\w.-]*)?$' });

export const PROMPTS = Type.Record(Type.String({ minLength: 1, maxLength: 64 }), Type.String());

const ENTRY = Type.Object(
  {
    /** What `MODEL` and requests call it. The part after the last `/` is a name too. */
    name: Type.String({ pattern: '^[A-Za-z0-9][\\w./-]*$', maxLength: 128 }),
    kind: Type.Enum([...MODEL_KINDS]),
    /** On the hub; or `folder` on this machine, seen from the file that names it. */
    repo: Type.Optional(REPO),
    folder: Type.Optional(Type.String({ minLength: 1 })),
    /** A branch, a tag or a commit; `main` when absent. */
    revision: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9][\\w./-]*$' })),
    /** The graph for each precision there is. */
    files: Type.Optional(
      Type.Object(
        { fp32: Type.Optional(FILE), fp16: Type.Optional(FILE), 'int8-dynamic': Type.Optional(FILE) },
        { additionalProperties: false, minProperties: 1 },
      ),
    ),
    pooling: Type.Optional(Type.Enum([...POOLINGS])),
    /** By name: `query` and `passage` (or `document`) are those of `inputType`. */
    prompts: Type.Optional(PROMPTS),
    /** A reranker that is asked in words, and how. */
    pairPrompt: Type.Optional(Type.Enum(['qwen3'])),
    /** What the files must give; a folder that lacks one is refused. */
    outputs: Type.Optional(Type.Array(Type.Enum([...OUTPUTS]), { minItems: 1 })),
    dims: Type.Optional(Type.Integer({ minimum: 1 })),
    maxTokens: Type.Optional(Type.Integer({ minimum: 3 })),
    license: Type.Optional(Type.String({ minLength: 1 })),
    description: Type.Optional(Type.String({ minLength: 1 })),
    /** What check this model has passed. */
    verifiedWith: Type.Optional(Type.String({ minLength: 1 })),
  },
  { additionalProperties: false },
);
export type CatalogEntry = Static<typeof ENTRY> & {
  /** Where it was written: the built-in list, or the user's file. */
  source: 'built-in' | 'user';
};

const FIELDS = Object.keys(ENTRY.properties);

/**
 * All entries by name; those of `modelsFile` (MODELS_FILE) replace built-in ones of the same name.
 * Throws `invalid_config` naming the file, the entry and the field.
 */
export async function readCatalog(modelsFile?: string): Promise<ReadonlyMap<string, CatalogEntry>> {
  const builtIn = await readEntries(new URL('./catalog.json', import.meta.url), 'the catalog', 'built-in');
  const own =
    modelsFile === undefined ? [] : await readEntries(modelsFile, `MODELS_FILE ${modelsFile}`, 'user');
  for (const entry of own)
    if (entry.folder !== undefined && modelsFile !== undefined)
      entry.folder = resolve(dirname(modelsFile), entry.folder);
  return new Map([...builtIn, ...own].map((entry) => [entry.name, entry]));
}

/** By its whole name, or by the part after the last `/`: a user's entry before trivec's own, and of those the first. */
export function findInCatalog(
  catalog: ReadonlyMap<string, CatalogEntry>,
  name: string,
): CatalogEntry | undefined {
  const exact = catalog.get(name);
  if (exact !== undefined || name.includes('/')) return exact;
  const short = [...catalog.values()].filter((entry) => shortName(entry.name) === name);
  return short.find(({ source }) => source === 'user') ?? short[0];
}

export function shortName(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1);
}

async function readEntries(
  file: string | URL,
  shown: string,
  source: CatalogEntry['source'],
): Promise<CatalogEntry[]> {
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    const why = cause instanceof SyntaxError ? 'is not JSON' : 'cannot be read';
    throw refuse(`${shown} ${why}: ${(cause as Error).message}.`, cause);
  }
  const models = (value as { models?: unknown } | null)?.models;
  if (!Array.isArray(models)) throw refuse(`${shown}: expected {"models": [ … ]}.`);
  const names = new Set<string>();
  return models.map((entry: unknown, index) => {
    if (typeof entry === 'object' && entry !== null) acceptSpellings(entry as Record<string, unknown>);
    checkEntry(entry, `${shown}: models[${index}]`);
    if (names.has(entry.name)) throw refuse(`${shown}: models[${index}].name: ${entry.name} is there twice.`);
    names.add(entry.name);
    return { ...entry, source };
  });
}

/** `licence` is `license` spelt another way. Changes the object. */
export function acceptSpellings(stated: Record<string, unknown>): void {
  if (stated.licence === undefined || stated.license !== undefined) return;
  stated.license = stated.licence;
  delete stated.licence;
}

function checkEntry(entry: unknown, where: string): asserts entry is Static<typeof ENTRY> {
  if (typeof entry !== 'object' || entry === null) throw refuse(`${where} must be an object.`);
  if (!Value.Check(ENTRY, entry)) {
    const unknown = Object.keys(entry).find((field) => !FIELDS.includes(field));
    if (unknown !== undefined)
      throw refuse(`${where}.${unknown} is not a field; there is ${FIELDS.join(', ')}.`);
    const [error] = Value.Errors(ENTRY, entry);
    const path = error?.instancePath.replaceAll('/', '.') ?? '';
    throw refuse(`${where}${path} ${error?.message ?? 'is not what it should be'}.`);
  }
  const { repo, folder, kind, pairPrompt } = entry as Static<typeof ENTRY>;
  if ((repo === undefined) === (folder === undefined))
    throw refuse(`${where} must have either repo or folder.`);
  if (pairPrompt !== undefined && kind !== 'reranker')
    throw refuse(`${where}.pairPrompt is for rerankers only.`);
}

function refuse(message: string, cause?: unknown): TrivecError {
  return new TrivecError('invalid_config', message, { param: 'MODELS_FILE', cause });
}
