/** A model folder, looked at: what it is, what goes in, what comes out, and its fingerprint. */
import { stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { type Static, type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import { TrivecError } from '../errors.ts';
import type { YesNo } from '../onnx/addYesNo.ts';
import { type GraphInspection, inspectModelFile } from '../onnx/inspect.ts';
import { COLBERT_HEAD_FILE, SPARSE_HEAD_FILE } from '../onnx/m3Heads.ts';
import { readManifest } from '../onnx/rewriteManifest.ts';
import { type HeadPlan, type PaddingSide, POOLINGS, type Pooling } from '../vectors/headPlan.ts';
import { OUTPUTS } from '../vectors/types.ts';
import { acceptSpellings, type CatalogEntry, PROMPTS } from './catalog.ts';
import { fingerprintOf } from './fingerprint.ts';
import { choiceOfRewritten, guessDtype } from './folderDtype.ts';
import { findModelFiles, readJson } from './folderFiles.ts';
import { type GraphContract, type GraphInput, readContract } from './graphContract.ts';
import type { GraphChoice } from './graphFile.ts';
import { exists } from './hubCache.ts';
import { MODEL_KINDS, type ModelInfo } from './modelInfo.ts';
import { modelParts } from './modelParts.ts';
import type { PairPrompt } from './pairs.ts';
import { type Prompted, readPrompts } from './prompts.ts';
import { readReranker } from './reranker.ts';
import { readSpecialTokens } from './specialTokens.ts';

export interface ModelDescription {
  /**
   * `denseDims` and `colbertDims` are what the files state, or the hidden size where the graph names a dimension
   * only; the engine measures them when it starts.
   */
  info: ModelInfo;
  folder: string;
  /** Of the files that are loaded. */
  bytes: number;
  graphFile: string;
  tokenizerFile: string;
  inputs: readonly GraphInput[];
  heads: HeadPlan;
  /** Folder of `sparse_linear.pt` and `colbert_linear.pt`, whose heads are to be added to the graph. */
  addedHeadsFolder: string | undefined;
  /** A generating model whose next word is the judgement. */
  yesNo?: YesNo | undefined;
  padId: number;
  paddingSide: PaddingSide;
  /** A reranker that is asked in words. */
  pairPrompt?: PairPrompt | undefined;
}

/** What a folder may say of itself in `trivec.json`; everything may be left out. */
const TRIVEC_JSON = Type.Object(
  {
    name: Type.String({ minLength: 1 }),
    description: Type.String(),
    license: Type.String(),
    standIn: Type.Boolean(),
    dtype: Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,31}$' }),
    maxTokens: Type.Integer({ minimum: 3 }),
    pooling: Type.Enum([...POOLINGS]),
    kind: Type.Enum([...MODEL_KINDS]),
    pairPrompt: Type.Enum(['qwen3']),
    prompts: PROMPTS,
  },
  { additionalProperties: true },
);
type TrivecJson = Partial<Static<typeof TRIVEC_JSON>>;

const GROUPED_ATTENTION = 'com.microsoft.GroupQueryAttention';

/** Tables of embeddings are padded by a few rows; a tokenizer with less than this share of them is another model's. */
const LEAST_VOCABULARY = 0.4;

export interface DescribeOptions {
  /** What it is called; else what its trivec.json says, else the folder's name. */
  name?: string | undefined;
  aliases?: readonly string[] | undefined;
  choice?: GraphChoice | undefined;
  /** What the catalog says of it; goes before what the folder says. */
  stated?: Partial<CatalogEntry> | undefined;
  /** The precision that trivec itself gave the files; goes before what they say, which was said of their source. */
  rewrittenAs?: string | undefined;
}

/**
 * Looks at a folder with config.json, tokenizer.json and an ONNX graph (also under `onnx/`).
 * Throws `invalid_model` saying what was found and what is expected.
 */
export async function describeModelFolder(
  folder: string,
  { name, aliases = [], choice: asked = {}, stated = {}, rewrittenAs }: DescribeOptions = {},
): Promise<ModelDescription> {
  const manifest = await readManifest(folder);
  const made = rewrittenAs ?? manifest?.dtype;
  const choice = made === undefined ? asked : choiceOfRewritten(folder, made, asked);
  const files = await findModelFiles(folder, choice);
  const [own, config, tokenizer] = [
    checkTrivecJson(await readJson(join(folder, 'trivec.json'))),
    (files.config === undefined ? undefined : await readJson(files.config)) ?? {},
    (await readJson(files.tokenizer)) ?? {},
  ];
  const tokenizerConfig = await readJson(join(dirname(files.tokenizer), 'tokenizer_config.json'));
  const inspection = await inspectModelFile(files.graph);
  const pooling = stated.pooling ?? own.pooling ?? (await readPooling(folder));
  const contract = readContract(inspection.inputs, inspection.outputs, pooling);
  const addedHeadsFolder = contract.isBackbone ? await findHeadFiles(folder, files.graph) : undefined;
  const heads = addedHeadsFolder === undefined ? contract.heads : headsToAdd();
  const special = readSpecialTokens(tokenizer, tokenizerConfig);
  checkVocabulary(special.vocabularySize, inspection, config, folder);
  const hasHeads = Object.keys(heads).length > 0;
  const kind = stated.kind ?? own.kind ?? (!hasHeads && contract.logits ? 'reranker' : 'embedding');
  const reranker =
    kind === 'reranker'
      ? readReranker(contract, { tokenizer, config, prompt: stated.pairPrompt ?? own.pairPrompt, folder })
      : undefined;
  if (reranker === undefined && !hasHeads)
    throw new TrivecError(
      'invalid_model',
      `The graph of ${folder} gives token vectors only; 1_Pooling/config.json or "pooling" in trivec.json must say how to pool them.`,
    );
  const hiddenSize = numberOf(config.hidden_size) ?? 0;
  const dtype = made ?? own.dtype ?? choice.dtype ?? guessDtype(files.graph, inspection);
  const plan = reranker?.heads ?? { ...heads, ignoredSparseIds: special.ignoredSparseIds };
  const maxTokens = await readMaxTokens(folder, config, tokenizerConfig, [own.maxTokens, stated.maxTokens]);
  const denseDims = kind === 'reranker' || plan.dense === undefined ? 0 : (contract.denseDims ?? hiddenSize);
  if (stated.dims !== undefined && denseDims !== 0 && stated.dims !== denseDims)
    throw new TrivecError(
      'invalid_model',
      `The catalog gives ${stated.name} ${stated.dims} dimensions; the graph in ${folder} has ${denseDims}.`,
    );
  const lacking = stated.outputs?.find((output) => plan[output] === undefined);
  if (lacking !== undefined)
    throw new TrivecError(
      'invalid_model',
      `The files of ${stated.name} in ${folder} give no ${lacking}: the graph has no such output, and ${SPARSE_HEAD_FILE} and ${COLBERT_HEAD_FILE} are not both there.`,
    );
  const called = name ?? own.name ?? basename(resolve(folder));
  const prompted = await findPrompts(folder, stated.prompts ?? own.prompts);
  const parts = modelParts(folder, files, inspection, addedHeadsFolder, manifest);
  const sizes = await Promise.all(parts.files.map((path) => stat(path)));
  const facts = {
    dtype,
    plan,
    maxTokens,
    ...(reranker && { yesNo: reranker.yesNo ?? null }),
    ...(parts.recipe !== undefined && { recipe: parts.recipe }),
  };
  return {
    info: {
      kind,
      name: called,
      ...(aliases.length > 0 && { aliases: [...new Set(aliases)].filter((alias) => alias !== called) }),
      fingerprint: await fingerprintOf(parts.hashed, facts),
      dtype,
      ...(dtype === 'int8-dynamic' && { batchDependent: true }),
      outputs: reranker ? [] : OUTPUTS.filter((output) => plan[output] !== undefined),
      denseDims,
      colbertDims: reranker || plan.colbert === undefined ? 0 : (contract.colbertDims ?? hiddenSize),
      maxTokens,
      standIn: own.standIn ?? false,
      description:
        own.description ??
        stated.description ??
        `${String(config.model_type ?? 'encoder')} from ${basename(resolve(folder))}`,
      license: own.license ?? stated.license ?? 'not stated',
      ...prompted,
    },
    folder,
    bytes: sizes.reduce((sum, { size }) => sum + size, 0),
    graphFile: files.graph,
    tokenizerFile: files.tokenizer,
    inputs: contract.inputs,
    heads: plan,
    addedHeadsFolder,
    yesNo: reranker?.yesNo,
    padId: special.padId ?? numberOf(config.pad_token_id) ?? 0,
    // A decoder's last token is exact on either side. Encoders with learned positions need the right one, and so does
    // onnxruntime's fused attention, which takes the first tokens of a text for its real ones.
    paddingSide:
      plan.dense?.pooling === 'last' &&
      tokenizerConfig?.padding_side === 'left' &&
      inspection.operators[GROUPED_ATTENTION] === undefined
        ? 'left'
        : 'right',
    pairPrompt: reranker?.pairPrompt,
  };
}

/** Names are settled when the heads are added; the plan only says that they will be there. */
function headsToAdd(): GraphContract['heads'] {
  return { dense: { output: '' }, sparse: { output: '' }, colbert: { output: '' } };
}

async function findHeadFiles(folder: string, graphFile: string): Promise<string | undefined> {
  for (const place of [folder, dirname(graphFile)]) {
    const there = await Promise.all(
      [SPARSE_HEAD_FILE, COLBERT_HEAD_FILE].map((file) => exists(join(place, file))),
    );
    if (there.every(Boolean)) return place;
    if (there.some(Boolean))
      throw new TrivecError(
        'invalid_model',
        `${place} has only one of ${SPARSE_HEAD_FILE} and ${COLBERT_HEAD_FILE}; both belong to the model.`,
      );
  }
  return undefined;
}

function checkTrivecJson(value: Record<string, unknown> | undefined): TrivecJson {
  if (value === undefined) return {};
  acceptSpellings(value);
  for (const [field, schema] of Object.entries<TSchema>(TRIVEC_JSON.properties))
    if (value[field] !== undefined && !Value.Check(schema, value[field]))
      throw new TrivecError('invalid_model', `trivec.json: ${field} has a value that it cannot have.`, {
        param: field,
      });
  return value as TrivecJson;
}

async function findPrompts(folder: string, stated: Prompted['prompts']): Promise<Prompted> {
  if (stated !== undefined) return { prompts: stated };
  return readPrompts(await readJson(join(folder, 'config_sentence_transformers.json')));
}

/** sentence-transformers' 1_Pooling/config.json. Throws `invalid_model` for a way of pooling that is not known. */
async function readPooling(folder: string): Promise<Pooling | undefined> {
  const config = await readJson(join(folder, '1_Pooling', 'config.json'));
  if (config === undefined) return undefined;
  const modes = {
    cls: [config.pooling_mode_cls_token, config.pooling_mode === 'cls'],
    mean: [config.pooling_mode_mean_tokens, config.pooling_mode === 'mean'],
    last: [config.pooling_mode_lasttoken, config.pooling_mode === 'lasttoken'],
  };
  const found = POOLINGS.filter((pooling) => modes[pooling].includes(true));
  if (found.length === 1) return found[0];
  throw new TrivecError(
    'invalid_model',
    '1_Pooling/config.json: expected cls, mean or last-token pooling alone.',
  );
}

function checkVocabulary(
  tokenizerSize: number,
  { vocabulary }: GraphInspection,
  config: Record<string, unknown>,
  folder: string,
): void {
  const rows = vocabulary?.rows ?? numberOf(config.vocab_size);
  if (tokenizerSize === 0)
    throw new TrivecError('invalid_model', `The tokenizer.json of ${folder} has no vocabulary.`);
  if (rows !== undefined && tokenizerSize > rows)
    throw new TrivecError(
      'invalid_model',
      `The tokenizer of ${folder} has ${tokenizerSize} ids but the model knows ${rows}: they belong to different models.`,
    );
  if (rows !== undefined && tokenizerSize < LEAST_VOCABULARY * rows)
    throw new TrivecError(
      'invalid_model',
      `The tokenizer of ${folder} has only ${tokenizerSize} of the ${rows} ids that the model knows: they belong to different models.`,
    );
}

/** The least of what the folder's files say. RoBERTa's positions start after the padding id. */
async function readMaxTokens(
  folder: string,
  config: Record<string, unknown>,
  tokenizerConfig: Record<string, unknown> | undefined,
  stated: readonly (number | undefined)[],
): Promise<number> {
  const positions = numberOf(config.max_position_embeddings);
  const isRoberta = /roberta|camembert|xlm-r/.test(String(config.model_type ?? ''));
  const table =
    positions === undefined
      ? undefined
      : positions - (isRoberta ? (numberOf(config.pad_token_id) ?? 1) + 1 : 0);
  const sentence = await readJson(join(folder, 'sentence_bert_config.json'));
  const limits = [
    table,
    ...stated,
    numberOf(sentence?.max_seq_length),
    numberOf(tokenizerConfig?.model_max_length),
  ].filter((limit) => limit !== undefined);
  const least = Math.min(...limits);
  if (!Number.isSafeInteger(least) || least < 3)
    throw new TrivecError(
      'invalid_model',
      `Nothing in ${folder} says how many tokens a text may have: config.json is missing, or its max_position_embeddings is missing or too small. "maxTokens" in trivec.json says it too.`,
    );
  return least;
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}
