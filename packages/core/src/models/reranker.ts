/** What a reranker's graph and tokenizer say about how it judges. Pure. */
import { TrivecError } from '../errors.ts';
import type { YesNo } from '../onnx/addYesNo.ts';
import type { HeadPlan } from '../vectors/headPlan.ts';
import type { GraphContract } from './graphContract.ts';
import { type PairPrompt, QWEN3_PROMPT } from './pairs.ts';
import { tokenIds } from './specialTokens.ts';

export interface Reranker {
  /** The one logit stands in the place of a dense vector of one number. */
  heads: HeadPlan;
  yesNo: YesNo | undefined;
  pairPrompt: PairPrompt | undefined;
}

interface Surroundings {
  tokenizer: Readonly<Record<string, unknown>>;
  config: Readonly<Record<string, unknown>>;
  prompt: 'qwen3' | undefined;
  folder: string;
}

/** Throws `invalid_model` where there is no logit, or nothing says how to ask a generating model. */
export function readReranker({ logits }: GraphContract, surroundings: Surroundings): Reranker {
  const { tokenizer, config, prompt, folder } = surroundings;
  if (logits === undefined)
    throw new TrivecError('invalid_model', `The graph of ${folder} has no logits: it is not a reranker.`);
  const asked = prompt === 'qwen3' || (logits.overVocabulary && config.model_type === 'qwen3');
  const pairPrompt = asked ? QWEN3_PROMPT : undefined;
  const dense = { output: logits.output };
  if (!logits.overVocabulary) return { heads: { dense, ignoredSparseIds: [] }, yesNo: undefined, pairPrompt };
  const [yes, no] = tokenIds(tokenizer, ['yes', 'no']);
  if (pairPrompt === undefined || yes === undefined || no === undefined)
    throw new TrivecError(
      'invalid_model',
      `The graph of ${folder} gives logits over a vocabulary; as a reranker it needs a known prompt ("pairPrompt": ` +
        '"qwen3") and the tokens yes and no.',
    );
  return {
    heads: { dense: { ...dense, pooling: 'last' }, ignoredSparseIds: [] },
    yesNo: { logits: logits.output, yes, no },
    pairPrompt,
  };
}
