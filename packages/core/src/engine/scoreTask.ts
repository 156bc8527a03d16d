import { performance } from 'node:perf_hooks';
import { TrivecError } from '../errors.ts';
import type { TaskContext } from '../replies/interactiveLane.ts';
import { MIXED_WEIGHTS, mixedScore, type OutputScores, outputScores } from '../vectors/scores.ts';
import { OUTPUTS, type Output } from '../vectors/types.ts';
import type { ScoreReply, ScoreTask } from './tasks.ts';
import type { EncodedText, Engine } from './types.ts';

/** Answers a `score` task. Throws `text_too_long`, `unknown_output`, and what the engine throws for a whole call. */
export function scorePairs(engine: Engine, task: ScoreTask, context: TaskContext): Promise<ScoreReply> {
  return engine.model.kind === 'reranker'
    ? readTogether(engine, task, context)
    : compareVectors(engine, task, context);
}

async function readTogether(engine: Engine, task: ScoreTask, context: TaskContext): Promise<ScoreReply> {
  const { maxTokens, instruction } = task;
  const startedAtMs = performance.now();
  const encoded = await engine.encodePairs(task.pairs, {
    ...(maxTokens !== undefined && { maxTokens }),
    ...(instruction !== undefined && { instruction }),
  });
  const tokenizedAtMs = performance.now();
  const truncated = encoded.map(wasCut);
  const limit = limitOf(engine, task);
  if (!task.truncate)
    refuseCut(
      encoded.map((pair) => [pair]),
      limit,
      engine.model.name,
    );
  const { scores, inferMs } = await engine.score(encoded, laneOptions(context));
  return {
    kind: 'score',
    scores: scores.map((logit, index) =>
      logit instanceof TrivecError
        ? failed(logit)
        : { score: task.normalize ? sigmoid(logit) : logit, tokens: encoded[index]!.ids.length },
    ),
    truncated,
    maxTokens: limit,
    timings: timingsOf(context, startedAtMs, tokenizedAtMs, inferMs),
  };
}

async function compareVectors(engine: Engine, task: ScoreTask, context: TaskContext): Promise<ScoreReply> {
  const weights = weightsOf(task, engine);
  const outputs = OUTPUTS.filter((output) => (weights[output] ?? 0) !== 0);
  const startedAtMs = performance.now();
  const texts = [...new Set(task.pairs.flat())];
  const encoded = await engine.encode(
    texts,
    task.maxTokens === undefined ? {} : { maxTokens: task.maxTokens },
  );
  const tokenizedAtMs = performance.now();
  const places = new Map(texts.map((text, place) => [text, place]));
  const pairs = task.pairs.map(([query, passage]) => [places.get(query)!, places.get(passage)!] as const);
  const both = pairs.map((pair) => pair.map((place) => encoded[place]!));
  const limit = limitOf(engine, task);
  if (!task.truncate) refuseCut(both, limit, engine.model.name);
  const { vectors, inferMs } = await engine.embed(encoded, { outputs, ...laneOptions(context) });
  return {
    kind: 'score',
    scores: pairs.map(([queryAt, passageAt]) => {
      const [query, passage] = [vectors[queryAt]!, vectors[passageAt]!];
      if (query instanceof TrivecError) return failed(query);
      if (passage instanceof TrivecError) return failed(passage);
      const parts = outputScores(query, passage, outputs);
      return { score: mixedScore(parts, weights), ...parts, tokens: query.tokens + passage.tokens };
    }),
    truncated: both.map((pair) => pair.some(wasCut)),
    maxTokens: limit,
    timings: timingsOf(context, startedAtMs, tokenizedAtMs, inferMs),
  };
}

function weightsOf({ weights }: ScoreTask, { model }: Engine): OutputScores {
  const wanted =
    weights ?? Object.fromEntries(model.outputs.map((output) => [output, MIXED_WEIGHTS[output]]));
  const named = OUTPUTS.filter((output) => (wanted[output] ?? 0) !== 0);
  const missing = named.find((output) => !model.outputs.includes(output));
  if (missing !== undefined)
    throw new TrivecError(
      'unknown_output',
      `The model ${model.name} has no ${missing} output; it has ${model.outputs.join(', ')}.`,
      { param: `weights.${missing}` },
    );
  const values = named.map((output: Output) => wanted[output] ?? 0);
  if (values.length === 0 || values.some((value) => !Number.isFinite(value) || value < 0))
    throw new TrivecError('invalid_request', 'weights must be numbers of at least 0, one of them above.', {
      param: 'weights',
    });
  return wanted;
}

function limitOf(engine: Engine, { maxTokens }: ScoreTask): number {
  return Math.min(maxTokens ?? engine.model.maxTokens, engine.model.maxTokens);
}

function wasCut({ ids, originalTokens }: EncodedText): boolean {
  return originalTokens > ids.length;
}

function refuseCut(pairs: readonly (readonly EncodedText[])[], maxTokens: number, model: string): void {
  for (const [index, texts] of pairs.entries()) {
    const cut = texts.find(wasCut);
    if (cut !== undefined)
      throw new TrivecError(
        'text_too_long',
        `pairs[${index}] has ${cut.originalTokens} tokens; ${model} reads at most ${maxTokens}. ` +
          'Shorten it, or allow "truncate": true.',
        { param: `pairs[${index}]` },
      );
  }
}

function laneOptions({ signal, deadlineAtMs }: TaskContext) {
  return { lane: 'interactive', signal, deadlineAtMs } as const;
}

function timingsOf(
  { queuedMs }: TaskContext,
  startedAtMs: number,
  tokenizedAtMs: number,
  inferMs: number,
): ScoreReply['timings'] {
  const waitedMs = Math.max(0, performance.now() - tokenizedAtMs - inferMs);
  return { queueMs: queuedMs + waitedMs, tokenizeMs: tokenizedAtMs - startedAtMs, inferMs };
}

function failed({ code, message }: TrivecError): { error: { code: TrivecError['code']; message: string } } {
  return { error: { code, message } };
}

function sigmoid(logit: number): number {
  return 1 / (1 + Math.exp(-logit));
}
