/** Whether a loaded model gives what it should: the values that BAAI published for BGE-M3, else that it runs at all. */
import type { Engine } from '../engine/types.ts';
import { TrivecError } from '../errors.ts';
import { colbertScore, denseScore, sparseScore } from '../vectors/scores.ts';
import type { TextVectors } from '../vectors/types.ts';
import type { ModelDescription } from './folder.ts';

export interface SelfTest {
  outcome: 'passed' | 'failed' | 'runs';
  /** What was compared; for a model without published values, what was done. */
  detail: string;
  /** Greatest difference from the published values. */
  maxDifference?: number;
}

/** From the model card of BAAI/bge-m3 (fp16 and fp32 runs of FlagEmbedding agree with them to about 3e-4). */
const TEXTS = [
  'What is BGE M3?',
  'Defination of BM25',
  'BGE M3 is an embedding model supporting dense retrieval, lexical matching and multi-vector interaction.',
  'BM25 is a bag-of-words retrieval function that ranks a set of documents based on the query terms appearing in each document',
];
const TOKENS = [0, 4865, 83, 335, 11679, 276, 363, 32, 2];
const DENSE = [0.6259035, 0.34749585, 0.349868, 0.6782462];
const WEIGHTS = new Map([
  [4865, 0.0836208],
  [83, 0.0814696],
  [335, 0.1296464],
  [11679, 0.2518699],
  [276, 0.1700173],
  [363, 0.2695789],
  [32, 0.0407551],
]);
const LEXICAL = 0.19554448500275612;
const COLBERT = [0.7796662449836731, 0.4621177911758423];
const TOLERANCE: Readonly<Record<string, number>> = { fp32: 1e-3, fp16: 5e-3 };
const REDUCED_TOLERANCE = 0.05;

/** Runs the model on the texts of the model card. A folder is taken for BGE-M3 by its tokens and its sizes. */
export async function selfTest(engine: Engine, { info }: ModelDescription): Promise<SelfTest> {
  if (engine.model.kind === 'reranker') return judge(engine);
  const encoded = await engine.encode(TEXTS);
  const outputs = engine.model.outputs;
  const { vectors } = await engine.embed(encoded, { outputs, lane: 'bulk' });
  const failed = vectors.find((vector) => vector instanceof TrivecError);
  if (failed !== undefined) return { outcome: 'failed', detail: (failed as TrivecError).message };
  const isM3 =
    String(encoded[0]?.ids) === String(TOKENS) && info.denseDims === 1024 && info.maxTokens === 8192;
  if (!isM3)
    return { outcome: 'runs', detail: `${TEXTS.length} texts; there are no published values for this model` };
  const differences = differencesOf(vectors as TextVectors[]);
  const maxDifference = Math.max(...differences);
  const tolerance = TOLERANCE[info.dtype] ?? REDUCED_TOLERANCE;
  return {
    outcome: maxDifference <= tolerance ? 'passed' : 'failed',
    detail: `${differences.length} published values of BAAI/bge-m3, tolerance ${tolerance}`,
    maxDifference,
  };
}

function differencesOf(vectors: readonly TextVectors[]): number[] {
  const [q1, q2, d1, d2] = vectors as [TextVectors, TextVectors, TextVectors, TextVectors];
  const differences: number[] = [];
  const compare = (found: number, published: number) => differences.push(Math.abs(found - published));
  if (q1.dense)
    for (const [i, [q, d]] of [
      [q1, d1] as const,
      [q1, d2] as const,
      [q2, d1] as const,
      [q2, d2] as const,
    ].entries())
      compare(denseScore(q.dense!, d.dense!), DENSE[i]!);
  if (q1.sparse && d1.sparse) {
    const found = new Map(Array.from(q1.sparse.indices, (id, at) => [id, q1.sparse!.values[at]!]));
    for (const [id, weight] of WEIGHTS) compare(found.get(id) ?? 0, weight);
    compare(sparseScore(q1.sparse, d1.sparse), LEXICAL);
  }
  if (q1.colbert && d1.colbert && d2.colbert) {
    compare(colbertScore(q1.colbert, d1.colbert), COLBERT[0]!);
    compare(colbertScore(q1.colbert, d2.colbert), COLBERT[1]!);
  }
  return differences;
}

async function judge(engine: Engine): Promise<SelfTest> {
  const pairs = await engine.encodePairs([
    [TEXTS[0]!, TEXTS[2]!],
    [TEXTS[0]!, TEXTS[3]!],
  ]);
  const { scores } = await engine.score(pairs, { lane: 'bulk' });
  const failed = scores.find((score) => score instanceof TrivecError);
  if (failed instanceof TrivecError) return { outcome: 'failed', detail: failed.message };
  return { outcome: 'runs', detail: `two pairs: ${scores.join(', ')}; there are no published values here` };
}
