/** What a graph's inputs and outputs mean. Pure: names and shapes in, a contract out. */
import { TrivecError } from '../errors.ts';
import type { GraphValue } from '../onnx/inspect.ts';
import type { HeadPlan, Pooling } from '../vectors/headPlan.ts';

/**
 * What trivec can feed: token ids, 1 for a token and 0 for padding, 1 for the second text of a pair, 0, 1, 2 … over the
 * tokens, and the empty past of a decoder.
 */
export type InputRole = 'ids' | 'mask' | 'types' | 'positions' | 'past';

export interface GraphInput {
  name: string;
  role: InputRole;
  dtype: 'int64' | 'int32' | 'float32' | 'float16';
  /** Of a decoder's past [texts, heads, 0, size]. */
  past?: { heads: number; size: number };
}

export interface GraphContract {
  inputs: readonly GraphInput[];
  heads: Omit<HeadPlan, 'ignoredSparseIds'>;
  /** Sizes the file states; undefined where it names a dimension only, or has no such output. */
  denseDims: number | undefined;
  colbertDims: number | undefined;
  /** True where the graph ends with token vectors only, so that heads may still be added to it. */
  isBackbone: boolean;
  /** A reranker's one logit a text, [B] or [B, 1]; or logits of a vocabulary for every token, [B, L, V]. */
  logits: { output: string; overVocabulary: boolean } | undefined;
}

const PAST = /^past_key_values\.\d+\.(key|value)$/;

const INPUT_ROLES: Readonly<Record<string, InputRole>> = {
  input_ids: 'ids',
  attention_mask: 'mask',
  token_type_ids: 'types',
  position_ids: 'positions',
};

/** Names met in published exports (BGE-M3 and others), best first. */
const OUTPUT_NAMES = {
  dense: ['dense_vecs', 'dense_embeddings', 'dense', 'sentence_embedding'],
  sparse: ['sparse_vecs', 'sparse_weights', 'sparse'],
  colbert: ['colbert_vecs', 'colbert_vectors', 'colbert'],
  hidden: ['last_hidden_state', 'token_embeddings'],
  logits: ['logits', 'score', 'scores'],
};

/**
 * `pooling` is what the folder says about token vectors; needed only where the graph gives no dense vector itself.
 * Throws `invalid_model` that says what was found and what is expected.
 */
export function readContract(
  inputs: readonly GraphValue[],
  outputs: readonly GraphValue[],
  pooling: Pooling | undefined,
): GraphContract {
  const dense = find(outputs, OUTPUT_NAMES.dense, [2]);
  const sparse = find(outputs, OUTPUT_NAMES.sparse, [2, 3]);
  const colbert = find(outputs, OUTPUT_NAMES.colbert, [3]);
  const hidden = find(outputs, OUTPUT_NAMES.hidden, [3]);
  const logits = find(outputs, OUTPUT_NAMES.logits, [1, 2, 3]);
  if (!dense && !sparse && !colbert && !hidden && !logits)
    throw new TrivecError(
      'invalid_model',
      `The graph's outputs are ${list(outputs)}; expected one of ${Object.values(OUTPUT_NAMES).flat().join(', ')}.`,
    );
  const pooled = dense === undefined && pooling !== undefined ? hidden : undefined;
  const denseSource = dense ?? pooled;
  return {
    inputs: inputs.map((input) => toInput(input, inputs)),
    heads: {
      ...(dense && { dense: { output: dense.name } }),
      ...(pooled && pooling && { dense: { output: pooled.name, pooling } }),
      ...(sparse && { sparse: { output: sparse.name } }),
      ...(colbert && { colbert: { output: colbert.name } }),
    },
    denseDims: lastDim(denseSource),
    colbertDims: lastDim(colbert),
    isBackbone: !sparse && !colbert && hidden !== undefined,
    logits: logits && { output: logits.name, overVocabulary: logits.shape?.length === 3 },
  };
}

function toInput(input: GraphValue, all: readonly GraphValue[]): GraphInput {
  const past = PAST.test(input.name) ? readPast(input) : undefined;
  if (past !== undefined) return past;
  const role = INPUT_ROLES[input.name];
  if (role === undefined || !all.some(({ name }) => name === 'input_ids'))
    throw new TrivecError(
      'invalid_model',
      `The graph's inputs are ${list(all)}; expected input_ids and any of ${Object.keys(INPUT_ROLES).slice(1).join(', ')}.`,
    );
  if (input.dtype !== 'int64' && input.dtype !== 'int32')
    throw new TrivecError(
      'invalid_model',
      `The graph's input ${input.name} is ${input.dtype}; expected int64.`,
    );
  return { name: input.name, role, dtype: input.dtype };
}

/** float [B, heads, past, size] for each layer, key and value. */
function readPast(input: GraphValue): GraphInput {
  const [, heads, , size] = input.shape ?? [];
  const dtype = input.dtype === 'float' ? 'float32' : input.dtype;
  if (typeof heads !== 'number' || typeof size !== 'number' || (dtype !== 'float32' && dtype !== 'float16'))
    throw new TrivecError(
      'invalid_model',
      `The graph's input is ${describe(input)}; expected float[batch,heads,past,size] with the numbers of heads and size.`,
    );
  return { name: input.name, role: 'past', dtype, past: { heads, size } };
}

function find(
  outputs: readonly GraphValue[],
  names: readonly string[],
  ranks: readonly number[],
): GraphValue | undefined {
  const found = names
    .map((name) => outputs.find((output) => output.name === name))
    .find((output) => output !== undefined);
  if (found?.shape !== undefined && !ranks.includes(found.shape.length))
    throw new TrivecError(
      'invalid_model',
      `The graph's output ${found.name} is ${describe(found)}; expected ${ranks.join(' or ')} dimensions.`,
    );
  return found;
}

function lastDim(value: GraphValue | undefined): number | undefined {
  const last = value?.shape?.at(-1);
  return typeof last === 'number' && last > 0 ? last : undefined;
}

function list(values: readonly GraphValue[]): string {
  return values.map(describe).join(', ') || 'none';
}

function describe({ name, dtype, shape }: GraphValue): string {
  return `${name} ${dtype}[${shape?.map((dim) => dim ?? '?').join(',') ?? '?'}]`;
}
