import { createEngine } from '@trivec/core/engine/engine';
import { TrivecError } from '@trivec/core/errors';
import { readCatalog } from '@trivec/core/models/catalog';
import { checkPrecision } from '@trivec/core/models/comparePrecision';
import { describeModel } from '@trivec/core/models/describe';
import type { ComparedDtype } from '@trivec/core/models/dtypes';
import { describeModelFolder } from '@trivec/core/models/folder';
import { findCached, type HubConfig, pullModel } from '@trivec/core/models/hub';
import { BUILT_IN, type LocatedModel, locateModel, namesIn } from '@trivec/core/models/locate';
import { rewriteModel } from '@trivec/core/models/rewritten';
import { selfTest } from '@trivec/core/models/selfTest';
import type { RewrittenDtype } from '@trivec/core/onnx/quantize';
import { type CommandContext, EXIT, print, printJson, say } from '../context.ts';
import { formatCount, formatTable } from '../format.ts';
import { checkReport, checkText, precisionText } from './modelText.ts';

const QUIET = { info: () => {}, warn: () => {}, error: () => {} };

interface KnownModel {
  name: string;
  kind: string;
  /** `here`, `built in`, or where it would be downloaded from. */
  place: string;
  dtypes: string[];
  dims: number | undefined;
  maxTokens: number | undefined;
  license: string | undefined;
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
      license: entry.license,
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
    model.license ?? '',
  ]);
  const head = ['model', 'kind', 'where', 'precisions', 'dense', 'tokens', 'license'];
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
      license: info.license,
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
      license: undefined,
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

/**
 * Says what a folder is, loads it, and compares it with the published values where it is BGE-M3; with `dtype`, compares
 * that precision with fp32 instead.
 */
export async function check(
  context: CommandContext,
  name: string,
  options: { json?: boolean; dtype?: ComparedDtype },
): Promise<number> {
  const config = { ...context.config, hfHubOffline: true };
  if (options.dtype !== undefined) {
    const report = await checkPrecision(name, options.dtype, config, QUIET);
    if (options.json) printJson(context, report);
    else print(context, precisionText(report));
    return EXIT.done;
  }
  const model = await describeModel(name, config, QUIET);
  const engine = await createEngine({ model, config, logger: QUIET });
  try {
    const test = await selfTest(engine, model);
    const checked = { model, info: engine.model, device: engine.device, test };
    if (options.json) printJson(context, checkReport(checked));
    else print(context, checkText(checked));
    return test.outcome === 'failed' ? EXIT.failed : EXIT.done;
  } finally {
    await engine.close();
  }
}

/** Writes a model with smaller weights into a folder of its own; one that is there and current is left as it is. */
export async function quantize(
  context: CommandContext,
  name: string,
  { out, dtype, json }: { out: string; dtype: RewrittenDtype; json?: boolean },
): Promise<number> {
  const { config, signal } = context;
  const located = await locateModel(name, { ...config, modelDtype: 'fp32' });
  const folder = located.folder ?? (await pulled(located, config));
  const startedAt = performance.now();
  const { model, reused, report } = await rewriteModel({ ...located, folder }, dtype, out, signal);
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  if (json) {
    printJson(context, { folder: model.folder, ...model.info, reused, ...report });
    return EXIT.done;
  }
  print(context, model.folder);
  const [from, to] = [mebibytes(report.sourceBytes), mebibytes(report.bytes)];
  const work = reused ? 'made before from the same files' : `${report.matrices} matrices in ${seconds} s`;
  say(context, `${model.info.name}: ${dtype}, ${from} MiB became ${to} MiB (${work}).`);
  say(context, `Serve it: MODEL=${model.folder} npm start`);
  return EXIT.done;
}

async function pulled({ hub }: LocatedModel, config: HubConfig): Promise<string> {
  const cached = hub && (await findCached(hub, { ...config, hfHubOffline: true }));
  if (cached !== undefined) return cached.folder;
  throw new TrivecError(
    'invalid_model',
    `${hub?.repo} is not on this machine; npx trivec models pull brings it.`,
  );
}

function mebibytes(bytes: number): string {
  return (bytes / 1024 ** 2).toFixed(1);
}
