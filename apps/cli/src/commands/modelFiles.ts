import { createEngine } from '@trivec/core/engine/engine';
import { readCatalog } from '@trivec/core/models/catalog';
import { describeModel } from '@trivec/core/models/describe';
import { describeModelFolder, type ModelDescription } from '@trivec/core/models/folder';
import { findCached, pullModel } from '@trivec/core/models/hub';
import { BUILT_IN, locateModel, namesIn } from '@trivec/core/models/locate';
import { selfTest } from '@trivec/core/models/selfTest';
import { type CommandContext, EXIT, print, printJson, say } from '../context.ts';
import { formatCount, formatTable } from '../format.ts';

interface KnownModel {
  name: string;
  kind: string;
  /** `here`, `built in`, or where it would be downloaded from. */
  place: string;
  dtypes: string[];
  dims: number | undefined;
  maxTokens: number | undefined;
  licence: string | undefined;
  description: string | undefined;
  verifiedWith: string | undefined;
}

/** The catalog, MODELS_FILE and MODELS_DIR, and what of it is on this machine. Needs no server. */
export async function listCatalog(context: CommandContext, options: { json?: boolean }): Promise<number> {
  const { config } = context;
  const known: KnownModel[] = [];
  const own = await namesIn(config.modelsDir);
  for (const name of [...Object.keys(BUILT_IN), ...own])
    known.push(await describeHere(name, own.includes(name) ? 'MODELS_DIR' : 'built in', context));
  for (const entry of (await readCatalog(config.modelsFile)).values()) {
    const { hub, folder } = await locateModel(entry.name, { ...config, modelDtype: undefined });
    const isCached =
      hub !== undefined && (await findCached(hub, config).catch(() => undefined)) !== undefined;
    known.push({
      name: entry.name,
      kind: entry.kind,
      place: folder ?? (isCached ? 'in the cache' : `hub: ${entry.repo}`),
      dtypes: Object.keys(entry.files ?? {}),
      dims: entry.dims,
      maxTokens: entry.maxTokens,
      licence: entry.licence,
      description: entry.description,
      verifiedWith: entry.verifiedWith,
    });
  }
  if (options.json) {
    printJson(context, known);
    return EXIT.done;
  }
  const rows = known.map((model) => [
    model.name,
    model.kind,
    model.place,
    model.dtypes.join(','),
    model.dims === undefined ? '' : String(model.dims),
    model.maxTokens === undefined ? '' : formatCount(model.maxTokens),
    model.licence ?? '',
  ]);
  const head = ['model', 'kind', 'where', 'precisions', 'dense', 'tokens', 'licence'];
  print(context, formatTable(head, rows, [4, 5]));
  return EXIT.done;
}

async function describeHere(name: string, place: string, { config }: CommandContext): Promise<KnownModel> {
  try {
    const { info } = await describeModel(name, { ...config, modelDtype: undefined }, { info: () => {} });
    return {
      name,
      kind: info.kind,
      place,
      dtypes: [info.dtype],
      dims: info.denseDims || undefined,
      maxTokens: info.maxTokens,
      licence: info.license,
      description: info.description,
      verifiedWith: undefined,
    };
  } catch (error) {
    const unusable = `unusable: ${(error as Error).message}`;
    return {
      name,
      kind: '?',
      place,
      dtypes: [],
      dims: undefined,
      maxTokens: undefined,
      licence: undefined,
      description: unusable,
      verifiedWith: undefined,
    };
  }
}

/** Downloads a catalog model or a hub id into the hub's cache, or brings what is there up to date. */
export async function pull(context: CommandContext, name: string): Promise<number> {
  const { config, signal } = context;
  const located = await locateModel(name, config);
  if (located.hub === undefined) {
    say(context, `${name} is on this machine already: ${located.folder}`);
    return EXIT.done;
  }
  let shownAt = 0;
  const { folder } = await pullModel(located.hub, config, {
    signal,
    onProgress: ({ file, bytes, totalBytes }) => {
      if (bytes < totalBytes && performance.now() - shownAt < 1000) return;
      shownAt = performance.now();
      say(context, `${file}: ${mebibytes(bytes)} of ${mebibytes(totalBytes)} MiB`);
    },
  });
  const { info } = await describeModelFolder(folder, located);
  print(context, folder);
  say(context, `${info.name}: ${info.kind}, ${info.dtype}, ${info.outputs.join(', ') || 'scores of pairs'}`);
  return EXIT.done;
}

/** Says what a folder is, loads it, and compares it with the published values where it is BGE-M3. */
export async function check(
  context: CommandContext,
  name: string,
  options: { json?: boolean },
): Promise<number> {
  const { config } = context;
  const quiet = { info: () => {}, warn: () => {}, error: () => {} };
  const model = await describeModel(name, { ...config, hfHubOffline: true }, quiet);
  const engine = await createEngine({ model, config, logger: quiet });
  try {
    const test = await selfTest(engine, model);
    const report = { ...factsOf(model), ...engine.model, device: engine.device, selfTest: test };
    if (options.json) printJson(context, report);
    else for (const line of linesOf(report)) print(context, line);
    return test.outcome === 'failed' ? EXIT.failed : EXIT.done;
  } finally {
    await engine.close();
  }
}

function factsOf(model: ModelDescription) {
  const { folder, graphFile, addedHeadsFolder, heads, inputs, paddingSide } = model;
  return {
    folder,
    graph: graphFile,
    inputs: inputs.map((input) => input.name),
    headsAdded: addedHeadsFolder !== undefined,
    pooling: heads.dense?.pooling ?? null,
    paddingSide,
  };
}

function linesOf(report: Record<string, unknown>): string[] {
  return Object.entries(report).map(([name, value]) => {
    const shown = typeof value === 'string' ? value : JSON.stringify(value);
    return `${`${name}:`.padEnd(16)}${shown}`;
  });
}

function mebibytes(bytes: number): string {
  return (bytes / 1024 ** 2).toFixed(1);
}
