/** Runs a model in two precisions on the same texts, one after the other, and says how far they are apart. */
import { createEngine, type EngineConfig } from '../engine/engine.ts';
import type { Engine } from '../engine/types.ts';
import { TrivecError } from '../errors.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { TextVectors } from '../vectors/types.ts';
import { CHECK_QUERIES, CHECK_TEXTS } from './checkTexts.ts';
import { describeModel, type ModelConfig } from './describe.ts';
import type { ComparedDtype } from './dtypes.ts';
import { agreement, comparePrecision, type PrecisionReport, type ScoreRow } from './precision.ts';

export interface PrecisionCheck extends PrecisionReport {
  model: string;
  dtype: string;
  fingerprint: string;
  /** Size of the files that are loaded. */
  bytes: number;
  fp32Bytes: number;
}

/**
 * What `MODEL_DTYPE=dtype` gives for `name` against what its fp32 files give. `texts` are the built-in check texts unless
 * others are given; a reranker judges each text for the built-in queries.
 * Throws `invalid_model` where a precision or fp32 cannot be had, or a text cannot be run.
 */
export async function checkPrecision(
  name: string,
  dtype: ComparedDtype,
  config: ModelConfig & EngineConfig,
  logger: Pick<Logger, 'info' | 'warn' | 'error'>,
  texts: readonly string[] = CHECK_TEXTS,
): Promise<PrecisionCheck> {
  const describe = (modelDtype: ComparedDtype | 'fp32') =>
    describeModel(name, { ...config, modelDtype }, logger);
  const [exact, model] = [await describe('fp32'), await describe(dtype)];
  const run = async <T>(description: typeof model, use: (engine: Engine) => Promise<T>): Promise<T> => {
    const engine = await createEngine({ model: description, config, logger });
    try {
      return await use(engine);
    } finally {
      await engine.close();
    }
  };
  const compare = async (): Promise<PrecisionReport> => {
    if (model.info.kind === 'reranker') {
      const judge = (engine: Engine) => scoresOf(engine, texts);
      const [reference, found] = [await run(exact, judge), await run(model, judge)];
      const rows = reference.map((row, i): ScoreRow => [row, found[i]!]);
      return { texts: texts.length, scores: agreement(rows) };
    }
    const embed = (engine: Engine) => vectorsOf(engine, texts);
    return comparePrecision(await run(exact, embed), await run(model, embed));
  };
  const { info, bytes } = model;
  return {
    model: info.name,
    dtype: info.dtype,
    fingerprint: info.fingerprint,
    bytes,
    fp32Bytes: exact.bytes,
    ...(await compare()),
  };
}

async function vectorsOf(engine: Engine, texts: readonly string[]): Promise<TextVectors[]> {
  const { outputs } = engine.model;
  const { vectors } = await engine.embed(await engine.encode(texts), { outputs, lane: 'bulk' });
  return vectors.map(orThrow);
}

/** One row of logits a query. */
async function scoresOf(engine: Engine, texts: readonly string[]): Promise<number[][]> {
  const rows: number[][] = [];
  for (const query of CHECK_QUERIES) {
    const pairs = await engine.encodePairs(texts.map((text) => [query, text] as const));
    const { scores } = await engine.score(pairs, { lane: 'bulk' });
    rows.push(scores.map(orThrow));
  }
  return rows;
}

function orThrow<T>(result: T | TrivecError): T {
  if (result instanceof TrivecError)
    throw new TrivecError('invalid_model', `A text cannot be compared: ${result.message}`, { cause: result });
  return result;
}
