import type { Config } from '@trivec/core/config';
import type { ScoreTask } from '@trivec/core/engine/tasks';
import type { TextPair } from '@trivec/core/engine/types';
import { TrivecError } from '@trivec/core/errors';
import type { ModelInfo } from '@trivec/core/models/modelInfo';
import type { Metrics } from '@trivec/core/telemetry/metrics';
import type { OutputScores } from '@trivec/core/vectors/scores';
import type { Output } from '@trivec/core/vectors/types';
import { type Caller, checkText, type EngineCalls, estimateTokens } from './engineCalls.ts';
import { joinTimings, type Timings } from './timings.ts';

export const SCORE_MODES = ['mixed', 'dense', 'sparse', 'colbert'] as const;
export type ScoreMode = (typeof SCORE_MODES)[number];

export interface ScoreRequest extends Omit<Caller, 'signal'> {
  pairs: readonly TextPair[];
  /** An embedding model's way to compare; `mixed` (default) weighs all that it has. A reranker knows only its own. */
  mode?: ScoreMode | undefined;
  /** Weights of `mixed`; dense 0.4, sparse 0.2, colbert 0.4 when absent. */
  weights?: OutputScores | undefined;
  /** A reranker's score as 0 to 1 (the sigmoid) instead of the logit. */
  normalize?: boolean | undefined;
  truncate?: boolean | undefined;
  instruction?: string | undefined;
  /** How errors call text 0 or 1 of pair `i`. */
  nameOf?: (index: number, side: 0 | 1) => string;
}

export interface Scored {
  model: ModelInfo;
  /** One a pair, in order. Higher is nearer. */
  scores: { score: number; parts: OutputScores }[];
  tokens: number;
  /** Pairs that were cut. */
  truncated: number[];
  maxTokens: number;
  timings: Timings;
}

export interface ScorerDeps {
  calls: EngineCalls;
  config: Pick<Config, 'maxInputChars'>;
  metrics: Metrics;
  /** Told what a client's answer cost. */
  charge(client: string, tokens: number): void;
}

/** Pairs of texts to scores: the one handler behind every rerank and score. */
export class Scorer {
  readonly #deps: ScorerDeps;

  constructor(deps: ScorerDeps) {
    this.#deps = deps;
  }

  /**
   * By a reranker, or by an embedding model's own vectors. Throws `empty_input`, `invalid_request`, `unknown_output`,
   * `text_too_long`, `overloaded`, `model_unavailable`, `deadline_exceeded`, `cancelled`.
   */
  async score(model: ModelInfo, request: ScoreRequest, signal: AbortSignal): Promise<Scored> {
    const { pairs, normalize = false, truncate = true, instruction, client, timeoutMs } = request;
    const nameOf = request.nameOf ?? ((index: number, side: 0 | 1) => `pairs[${index}][${side}]`);
    if (pairs.length === 0)
      throw new TrivecError('empty_input', 'There must be at least one pair to score.', { param: 'pairs' });
    for (const [index, pair] of pairs.entries())
      for (const side of [0, 1] as const)
        checkText(pair[side], nameOf(index, side), this.#deps.config.maxInputChars);
    const weights = weightsOf(request, model);
    const replies = await this.#deps.calls.askParts(
      model,
      pairs,
      ([query, passage]) => estimateTokens(query, model.maxTokens) + estimateTokens(passage, model.maxTokens),
      (part): ScoreTask => ({
        kind: 'score',
        pairs: part,
        normalize,
        truncate,
        ...(weights !== undefined && { weights }),
        ...(instruction !== undefined && { instruction }),
      }),
      { client, timeoutMs, signal },
      (index) => nameOf(index, 1),
    );
    const all = replies.flatMap(({ scores }) => scores);
    const scores = all.map((one, index) => {
      if ('error' in one) {
        const { code, message } = one.error;
        throw new TrivecError(code, `${nameOf(index, 1)}: ${message}`, { param: nameOf(index, 1) });
      }
      const { score, tokens: _tokens, ...parts } = one;
      return { score, parts };
    });
    const tokens = all.reduce((sum, one) => sum + ('error' in one ? 0 : one.tokens), 0);
    this.#deps.metrics.requestTexts.inc({ model: model.name }, pairs.length);
    this.#deps.metrics.requestTokens.inc({ model: model.name }, tokens);
    if (client !== undefined) this.#deps.charge(client, tokens);
    return {
      model,
      scores,
      tokens,
      truncated: replies.flatMap(({ truncated }) => truncated).flatMap((cut, index) => (cut ? [index] : [])),
      maxTokens: replies[0]?.maxTokens ?? model.maxTokens,
      timings: joinTimings(replies),
    };
  }
}

function weightsOf({ mode, weights }: ScoreRequest, model: ModelInfo): OutputScores | undefined {
  if (model.kind === 'reranker') {
    if ((mode === undefined || mode === 'mixed') && weights === undefined) return undefined;
    throw new TrivecError(
      'invalid_request',
      `${model.name} is a reranker: it has one score, without modes and weights.`,
      { param: mode === undefined ? 'weights' : 'mode' },
    );
  }
  if (mode === undefined || mode === 'mixed') return weights;
  if (weights !== undefined) {
    throw new TrivecError('invalid_request', 'weights go with mode mixed only.', { param: 'weights' });
  }
  if (!model.outputs.includes(mode)) {
    throw new TrivecError(
      'unknown_output',
      `The model ${model.name} has no ${mode} output; it has ${model.outputs.join(', ')}.`,
      { param: 'mode' },
    );
  }
  return { [mode as Output]: 1 };
}

/** The best first; equal ones in the order given. At most `topN`. */
export function ranked<T extends { score: number }>(scores: readonly T[], topN = scores.length) {
  return scores
    .map((item, index) => ({ ...item, index }))
    .sort((a, b) => b.score - a.score || a.index - b.index)
    .slice(0, topN);
}
