import { performance } from 'node:perf_hooks';
import { TrivecError } from '../errors.ts';
import type { TaskContext } from '../replies/interactiveLane.ts';
import { scorePairs } from './scoreTask.ts';
import type {
  DecodeReply,
  DecodeTask,
  EmbedReply,
  EmbedTask,
  EngineTask,
  ReplyTo,
  TaskReply,
  TokenizeReply,
  TokenizeTask,
} from './tasks.ts';
import type { EncodedText, EncodeOptions, Engine } from './types.ts';

/**
 * Answers one interactive task. Throws `text_too_long` (with `truncate: false`), and what the engine throws
 * for a whole call; a text that fails alone is a `FailedText` in its place.
 */
export async function executeTask<Task extends EngineTask>(
  engine: Engine,
  task: Task,
  context: TaskContext,
): Promise<ReplyTo<Task>> {
  return (await dispatch(engine, task, context)) as ReplyTo<Task>;
}

function dispatch(engine: Engine, task: EngineTask, context: TaskContext): Promise<TaskReply> {
  switch (task.kind) {
    case 'embed':
      return embed(engine, task, context);
    case 'score':
      return scorePairs(engine, task, context);
    case 'tokenize':
      return tokenize(engine, task);
    case 'decode':
      return decode(engine, task);
  }
}

async function embed(engine: Engine, task: EmbedTask, context: TaskContext): Promise<EmbedReply> {
  const options: EncodeOptions = { truncationDirection: task.truncationDirection };
  if (task.maxTokens !== undefined) options.maxTokens = task.maxTokens;
  const startedAtMs = performance.now();
  const encoded = await engine.encode(task.texts, options);
  const tokenizedAtMs = performance.now();

  const maxTokens = Math.min(task.maxTokens ?? engine.model.maxTokens, engine.model.maxTokens);
  const truncated = encoded.map((text) => text.originalTokens > text.ids.length);
  if (!task.truncate) refuseTruncated(encoded, truncated, maxTokens, engine.model.name);

  const { vectors, inferMs } = await engine.embed(encoded, {
    outputs: task.outputs,
    lane: 'interactive',
    normalize: task.normalize,
    signal: context.signal,
    deadlineAtMs: context.deadlineAtMs,
    ...(task.dimensions !== undefined && { dimensions: task.dimensions }),
  });
  const waitedMs = Math.max(0, performance.now() - tokenizedAtMs - inferMs);
  return {
    kind: 'embed',
    vectors: vectors.map((vector) =>
      vector instanceof TrivecError ? { error: { code: vector.code, message: vector.message } } : vector,
    ),
    originalTokens: encoded.map((text) => text.originalTokens),
    truncated,
    maxTokens,
    ...(task.returnTokenIds === true && { tokenIds: encoded.map((text) => text.ids) }),
    timings: { queueMs: context.queuedMs + waitedMs, tokenizeMs: tokenizedAtMs - startedAtMs, inferMs },
  };
}

function refuseTruncated(
  encoded: readonly EncodedText[],
  truncated: readonly boolean[],
  maxTokens: number,
  model: string,
): void {
  const index = truncated.indexOf(true);
  if (index === -1) return;
  throw new TrivecError(
    'text_too_long',
    `input[${index}] has ${encoded[index]?.originalTokens} tokens; ${model} reads at most ${maxTokens}. ` +
      'Shorten it, or allow "truncate": true.',
    { param: `input[${index}]` },
  );
}

async function tokenize(engine: Engine, task: TokenizeTask): Promise<TokenizeReply> {
  const encoded = await engine.encode(task.texts);
  const frame = task.addSpecialTokens ? { before: 0, after: 0 } : await specialFrame(engine);
  const texts = encoded.map(({ ids, originalTokens }) => ({
    ids: ids.slice(frame.before, ids.length - frame.after),
    originalTokens: originalTokens - frame.before - frame.after,
  }));
  const tokens = await engine.decode(texts.flatMap(({ ids }) => Array.from(ids, (id) => [id])));
  let next = 0;
  return {
    kind: 'tokenize',
    texts: texts.map(({ ids, originalTokens }) => {
      const own = tokens.slice(next, next + ids.length);
      next += ids.length;
      return { ids, tokens: own, originalTokens };
    }),
  };
}

/**
 * How many special tokens the model puts before and after a text. The empty text is those tokens alone; a text
 * shares with it exactly what stands before.
 */
async function specialFrame(engine: Engine): Promise<{ before: number; after: number }> {
  const [empty, some] = await engine.encode(['', 'a']);
  if (empty === undefined || some === undefined) return { before: 0, after: 0 };
  let before = 0;
  while (before < empty.ids.length && empty.ids[before] === some.ids[before]) before++;
  return { before, after: empty.ids.length - before };
}

async function decode(engine: Engine, task: DecodeTask): Promise<DecodeReply> {
  const ids = task.ids.map((row) => [...row]);
  return { kind: 'decode', texts: await engine.decode(ids, { skipSpecialTokens: task.skipSpecialTokens }) };
}
