import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { basename, join, relative, resolve } from 'node:path';
import type { Config } from '../config.ts';
import { TrivecError } from '../errors.ts';
import { checkRoundable, type RewriteOptions } from '../onnx/quantize.ts';
import { findQuantizedFolder, type QuantizedFolder, quantizeModelFolder } from '../onnx/quantizedFolder.ts';
import { readManifest } from '../onnx/rewriteManifest.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { CatalogEntry, FileDtype } from './catalog.ts';
import { type DescribeOptions, describeModelFolder, type ModelDescription } from './folder.ts';
import { readJson } from './folderFiles.ts';
import { SAMPLE_TEXTS } from './sampleTexts.ts';
import { loadTokenizer, type Tokenizer } from './tokenizer.ts';

type ModelDtype = Config['modelDtype'];

/** Nobody publishes these: they are made here from the fp32 graph. */
const REWRITTEN = ['int8', 'int8-precise'] as const;
type RewrittenDtype = (typeof REWRITTEN)[number];

const SAMPLE_TOKENS = 128;

/** The sample texts as token ids, special tokens included. */
export async function encodeSamples(
  tokenizer: Pick<Tokenizer, 'encode'>,
  maxTokens: number,
): Promise<number[][]> {
  const samples = await tokenizer.encode(SAMPLE_TEXTS, { maxTokens: Math.min(SAMPLE_TOKENS, maxTokens) });
  return samples.map(({ ids }) => [...ids]);
}

export function isRewritten(dtype: ModelDtype): dtype is RewrittenDtype {
  return (REWRITTEN as readonly (string | undefined)[]).includes(dtype);
}

/** The published files that a configured precision starts from. */
export function publishedDtype(dtype: ModelDtype): FileDtype | undefined {
  return isRewritten(dtype) ? 'fp32' : (dtype as FileDtype | undefined);
}

/**
 * The model of `folder` in a precision that is made here: rewritten once into a folder beside its files, or in the data
 * folder where nothing can be written beside them, and found there afterwards as long as the files are the same. Blocks
 * its thread while it works (80 seconds at BGE-M3's size).
 * Throws `invalid_model` (nothing to quantise, unfit opset), `invalid_config` (a folder rewritten in another
 * precision), `storage_full` or `storage_unavailable`.
 */
export async function describeRewritten(
  folder: string,
  dtype: RewrittenDtype,
  options: DescribeOptions,
  { dataDir }: Pick<Config, 'dataDir'>,
  logger: Pick<Logger, 'info'>,
): Promise<ModelDescription> {
  const made = await readManifest(folder);
  if (made?.dtype === dtype) return describeModelFolder(folder, { ...options, choice: {} });
  const source = await describeModelFolder(folder, options);
  const { modelFile, ...rewrite } = await planRewrite(source, dtype);
  const {
    folder: target,
    reused,
    report,
  } = await rewriteOnce(source, modelFile, rewrite, logger, await ownFolder(dataDir, folder, dtype));
  logger.info({ model: source.info.name, ...report, folder: target, reused }, 'rewritten model');
  // Where nobody named them, the folder would.
  const { name, description } = source.info;
  return describeModelFolder(target, {
    ...options,
    name,
    stated: { ...options.stated, description },
    choice: { file: modelFile },
    rewrittenAs: dtype,
  });
}

/** Beside the model's files, or else in `otherwise`. */
async function rewriteOnce(
  { folder, graphFile, info }: ModelDescription,
  modelFile: string,
  rewrite: RewriteOptions,
  logger: Pick<Logger, 'info'>,
  otherwise: string,
): Promise<QuantizedFolder> {
  const beside = join(folder, `.trivec-${rewrite.dtype}`);
  // Read first: what came with an image is there, though its folder cannot be locked.
  const found = await findQuantizedFolder(folder, modelFile, beside, rewrite);
  if (found !== undefined) return found;
  // Before a line that promises minutes.
  await checkRoundable(graphFile);
  logger.info({ model: info.name, dtype: rewrite.dtype }, 'looking for the rewritten model, or making it');
  try {
    return await quantizeModelFolder(folder, modelFile, beside, rewrite);
  } catch (error) {
    if (!(error instanceof TrivecError && error.code === 'storage_unavailable')) throw error;
    logger.info(
      { reason: error.message, folder: otherwise },
      'the rewritten model goes into the data folder',
    );
    return quantizeModelFolder(folder, modelFile, otherwise, rewrite);
  }
}

/** For a model in an image, or in a folder that others own. */
async function ownFolder(dataDir: string, folder: string, dtype: RewrittenDtype): Promise<string> {
  const place = createHash('sha256')
    .update(await realpath(folder))
    .digest('hex');
  return join(dataDir, 'rewritten', `${basename(resolve(folder))}-${dtype}-${place.slice(0, 16)}`);
}

/**
 * Writes the model into `target`, a folder that can be served by itself: what the catalog alone knows of the model
 * goes into its trivec.json. `located` says where the fp32 files are and what is known of them.
 * Throws what describeRewritten throws, and `invalid_config` for a target that holds something else.
 */
export async function rewriteModel(
  { folder, stated, ...located }: DescribeOptions & { folder: string },
  dtype: RewriteOptions['dtype'],
  target: string,
  signal?: AbortSignal,
): Promise<QuantizedFolder & { model: ModelDescription }> {
  const source = await describeModelFolder(folder, { ...located, stated });
  const { modelFile, ...rewrite } = await planRewrite(source, dtype);
  const written =
    stated === undefined ? {} : { 'trivec.json': await statedFacts(folder, stated, source, dtype) };
  const made = await quantizeModelFolder(folder, modelFile, resolve(target), {
    ...rewrite,
    written,
    ...(signal && { signal }),
  });
  return { ...made, model: await describeModelFolder(made.folder) };
}

async function planRewrite(
  { folder, graphFile, tokenizerFile, info }: ModelDescription,
  dtype: RewriteOptions['dtype'],
): Promise<RewriteOptions & { modelFile: string }> {
  const samples =
    dtype === 'int8' ? await encodeSamples(await loadTokenizer(tokenizerFile), info.maxTokens) : [];
  return { dtype, samples, modelFile: relative(folder, graphFile) };
}

/** The trivec.json of a folder that must do without the catalog. */
async function statedFacts(
  folder: string,
  stated: Partial<CatalogEntry>,
  { info }: ModelDescription,
  dtype: string,
): Promise<string> {
  const { dtype: _, ...own } = (await readJson(join(folder, 'trivec.json'))) ?? {};
  const { kind, maxTokens, license, description } = info;
  // Not the prompts of sentence-transformers' file: it is copied, and names the default among them.
  const { pooling = own.pooling, pairPrompt = own.pairPrompt, prompts = own.prompts } = stated;
  const facts = { kind, pooling, pairPrompt, prompts, maxTokens, license, description };
  return `${JSON.stringify({ ...own, name: `${info.name}@${dtype}`, ...facts }, null, 2)}\n`;
}
