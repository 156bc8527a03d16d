import type { EmbedReply, EmbedTask } from '@trivec/core/engine/tasks';
import type { ModelInfo } from '@trivec/core/models/modelInfo';
import type { Metrics } from '@trivec/core/telemetry/metrics';
import type { EmbeddingCache, TextOutcome } from './embeddingCache.ts';
import { type Caller, type EngineCalls, estimateTokens } from './engineCalls.ts';
import { joinTimings, type Timings } from './timings.ts';
import { cacheScopeOf } from './viewer.ts';

export interface TextRunnerDeps {
  calls: EngineCalls;
  cache: EmbeddingCache;
  metrics: Metrics;
}

/** Runs the texts of one request: each distinct one once, and none that the cache knows. */
export class TextRunner {
  readonly #deps: TextRunnerDeps;

  constructor(deps: TextRunnerDeps) {
    this.#deps = deps;
  }

  /**
   * One outcome a text, in order. With nothing to run, nothing is asked of the engines, their queue included. Throws
   * what `askParts` throws, a text being called by `nameOf` of its first place.
   */
  async run(
    model: ModelInfo,
    template: EmbedTask,
    texts: readonly string[],
    caller: Caller,
    nameOf: (index: number) => string,
  ): Promise<{ outcomes: TextOutcome[]; timings: Timings }> {
    const { calls, cache, metrics } = this.#deps;
    const view = cache.of(cacheScopeOf(caller.client), model.fingerprint, template);
    const found = new Map<string, TextOutcome | undefined>();
    const toRun: { text: string; index: number }[] = [];
    for (const [index, text] of texts.entries()) {
      if (found.has(text)) continue;
      const known = view.get(text);
      found.set(text, known);
      if (known === undefined) toRun.push({ text, index });
    }
    metrics.cacheMisses.inc({ model: model.name }, toRun.length);
    metrics.cacheHits.inc({ model: model.name }, found.size - toRun.length);
    metrics.requestTwins.inc({ model: model.name }, texts.length - found.size);
    let replies: EmbedReply[] = [];
    if (toRun.length > 0) {
      replies = await calls.askParts(
        model,
        toRun,
        ({ text }) => estimateTokens(text, model.maxTokens),
        (part): EmbedTask => ({ ...template, texts: part.map(({ text }) => text) }),
        caller,
        (place) => nameOf(toRun[place]?.index ?? place),
      );
      for (const [place, outcome] of replies.flatMap(outcomesOf).entries()) {
        const text = toRun[place]?.text ?? '';
        found.set(text, outcome);
        view.set(text, outcome);
      }
      metrics.cacheBytes.set(cache.bytes);
    }
    return {
      outcomes: texts.map((text) => found.get(text) ?? NO_OUTCOME),
      timings: joinTimings(replies),
    };
  }
}

const NO_OUTCOME: TextOutcome = {
  vector: { error: { code: 'internal', message: 'The engine gave no result for this text.' } },
  originalTokens: 0,
  truncated: false,
  maxTokens: 0,
};

function outcomesOf({ vectors, originalTokens, truncated, maxTokens, tokenIds }: EmbedReply): TextOutcome[] {
  return vectors.map((vector, row) => ({
    vector,
    originalTokens: originalTokens[row] ?? 0,
    truncated: truncated[row] === true,
    maxTokens,
    tokenIds: tokenIds?.[row],
  }));
}
