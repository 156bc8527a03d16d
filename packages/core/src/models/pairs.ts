/** How query and passage become one list of tokens for a reranker. Pure. */

/** What a tokenizer puts around and between two texts: `before query middle passage after`. */
export interface PairFrame {
  before: readonly number[];
  middle: readonly number[];
  after: readonly number[];
  /** True where the second text has token type 1 (BERT). */
  hasTypes: boolean;
}

export interface JoinedPair {
  ids: Int32Array;
  originalTokens: number;
  secondFrom: number;
}

/** Around a text that a generating model judges with one word. */
export interface PairPrompt {
  prefix: string;
  suffix: string;
  /** Taken where a request brings none. */
  instruction: string;
  body(instruction: string, query: string, passage: string): string;
}

/** Qwen3-Reranker's own (model card): only the body is cut. */
export const QWEN3_PROMPT: PairPrompt = {
  prefix:
    '<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct ' +
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n',
  suffix: '<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n',
  instruction: 'Given a web search query, retrieve relevant passages that answer the query',
  body: (instruction, query, passage) =>
    `<Instruct>: ${instruction}\n<Query>: ${query}\n<Document>: ${passage}`,
};

/**
 * FlagEmbedding's rule (inference/reranker/encoder_only/base.py): the query keeps at most ¾ of `maxTokens`, the
 * passage what is left then. Both come without special tokens.
 */
export function joinPair(
  query: Int32Array,
  passage: Int32Array,
  frame: PairFrame,
  maxTokens: number,
): JoinedPair {
  const special = frame.before.length + frame.middle.length + frame.after.length;
  const left = query.subarray(0, Math.min(Math.floor((maxTokens * 3) / 4), maxTokens - special));
  const right = passage.subarray(0, Math.max(0, maxTokens - special - left.length));
  const second = frame.before.length + left.length + frame.middle.length;
  return {
    ids: Int32Array.of(...frame.before, ...left, ...frame.middle, ...right, ...frame.after),
    originalTokens: query.length + passage.length + special,
    secondFrom: frame.hasTypes ? second : 0,
  };
}

/** `prefix body suffix`, the body cut from the right to fit. */
export function joinPrompt(
  prefix: Int32Array,
  body: Int32Array,
  suffix: Int32Array,
  maxTokens: number,
): JoinedPair {
  const room = Math.max(0, maxTokens - prefix.length - suffix.length);
  return {
    ids: Int32Array.of(...prefix, ...body.subarray(0, room), ...suffix),
    originalTokens: prefix.length + body.length + suffix.length,
    secondFrom: 0,
  };
}
