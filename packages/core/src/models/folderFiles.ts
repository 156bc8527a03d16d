/** Finding and reading the files of a model folder. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TrivecError } from '../errors.ts';
import { lfsPointerNote } from '../onnx/lfsPointer.ts';
import { chooseGraph, type GraphChoice } from './graphFile.ts';
import { exists } from './hubCache.ts';

export interface ModelFiles {
  /** Absolute or as the folder was given. */
  graph: string;
  tokenizer: string;
  /** Some exports come without it; then something else must say how long a text may be. */
  config: string | undefined;
}

/**
 * The graph as `chooseGraph` picks it, in the folder or in its `onnx/`. The tokenizer and the configuration lie in
 * either. Throws `invalid_model` naming what is missing and what was found.
 */
export async function findModelFiles(folder: string, choice: GraphChoice = {}): Promise<ModelFiles> {
  const here = await listFolder(folder);
  if (here === undefined)
    throw new TrivecError('invalid_model', `The model folder ${folder} does not exist or cannot be read.`);
  const below = ((await listFolder(join(folder, 'onnx'))) ?? []).map((name) => `onnx/${name}`);
  const deep = choice.file !== undefined && (await exists(join(folder, choice.file))) ? [choice.file] : [];
  const all = [...here, ...below, ...deep];
  const graph = chooseGraph(all, choice, `The model folder ${folder}`);
  const pick = (name: string): string | undefined => {
    const beside = graph.slice(0, graph.lastIndexOf('/') + 1) + name;
    const found = [name, beside, `onnx/${name}`].find((path) => all.includes(path));
    return found === undefined ? undefined : join(folder, found);
  };
  const tokenizer = pick('tokenizer.json');
  if (tokenizer === undefined)
    throw new TrivecError(
      'invalid_model',
      `The model folder ${folder} has no tokenizer.json; it holds ${shown(all)}. Put that of the original model there, BAAI/bge-m3's for an export of BGE-M3.`,
    );
  return { graph: join(folder, graph), tokenizer, config: pick('config.json') };
}

async function listFolder(folder: string): Promise<string[] | undefined> {
  try {
    return (await readdir(folder)).sort();
  } catch {
    return undefined;
  }
}

function shown(names: readonly string[]): string {
  const most = names.slice(0, 12).join(', ');
  return names.length === 0 ? 'nothing' : names.length > 12 ? `${most} …` : most;
}

/** A JSON object. `undefined` where the file is not there; throws `invalid_model` where it is something else. */
export async function readJson(path: string): Promise<Record<string, unknown> | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch {
    return undefined;
  }
  const pointer = lfsPointerNote(text);
  if (pointer !== undefined) throw new TrivecError('invalid_model', `${path} ${pointer}.`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new TrivecError('invalid_model', `${path} is not JSON: it is truncated or foreign.`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new TrivecError('invalid_model', `${path} is not a JSON object.`);
  return value as Record<string, unknown>;
}
