import { join, relative } from 'node:path';
import type { Config } from '../config.ts';
import { quantizeModelFolder } from '../onnx/quantizedFolder.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { FileDtype } from './catalog.ts';
import { type DescribeOptions, describeModelFolder, type ModelDescription } from './folder.ts';
import { loadTokenizer } from './tokenizer.ts';

type ModelDtype = Config['modelDtype'];

/** Nobody publishes these: they are made here from the fp32 graph. */
const REWRITTEN = ['int8', 'int8-precise'] as const;
type RewrittenDtype = (typeof REWRITTEN)[number];

/**
 * What smoothing measures the activations on: a few sentences of different kinds and scripts. Vectors hardly depend on
 * the choice; that they stay the same does matter, because the fingerprint covers what comes out.
 */
const SAMPLE_TEXTS = [
  'What is the capital of Australia?',
  'how to reset a forgotten password on a laptop',
  'The committee adopted the amended regulation on 14 March 2019 by a vote of 27 to 3.',
  'Mix the flour, sugar and salt, rub in the butter, then bind with two spoons of cold water and rest for an hour.',
  'def mean(values): return sum(values) / len(values)  # raises ZeroDivisionError for []',
  'Patients with type 2 diabetes who received the drug showed a 12.4% reduction (p < 0.01) compared with placebo.',
  'La bibliothèque ouvre à neuf heures et ferme à dix-huit heures, sauf le dimanche.',
  'Die Brücke wurde 1894 eröffnet und nach dem Krieg in alter Form wieder aufgebaut.',
  '北京的冬天又冷又干燥，很少下雪。',
  'この駅から空港まで電車で四十分ほどかかります。',
] as const;
const SAMPLE_TOKENS = 128;

export function isRewritten(dtype: ModelDtype): dtype is RewrittenDtype {
  return (REWRITTEN as readonly (string | undefined)[]).includes(dtype);
}

/** The published files that a configured precision starts from. */
export function publishedDtype(dtype: ModelDtype): FileDtype | undefined {
  return isRewritten(dtype) ? 'fp32' : (dtype as FileDtype | undefined);
}

/**
 * The model of `folder` in a precision that is made here: rewritten once into a folder beside its files, found there
 * afterwards as long as the files are the same. Blocks its thread while it works (a minute at BGE-M3's size).
 * Throws `invalid_model` (nothing to quantise, unfit opset), `storage_full` or `storage_unavailable`.
 */
export async function describeRewritten(
  folder: string,
  dtype: RewrittenDtype,
  options: DescribeOptions,
  logger: Pick<Logger, 'info'>,
): Promise<ModelDescription> {
  const source = await describeModelFolder(folder, options);
  const tokenizer = await loadTokenizer(source.tokenizerFile);
  const samples = await tokenizer.encode(SAMPLE_TEXTS, {
    maxTokens: Math.min(SAMPLE_TOKENS, source.info.maxTokens),
  });
  const graphFile = relative(folder, source.graphFile);
  logger.info({ model: source.info.name, dtype }, 'looking for the rewritten model, or making it');
  const {
    folder: target,
    reused,
    report,
  } = await quantizeModelFolder(folder, graphFile, join(folder, `.trivec-${dtype}`), {
    dtype,
    samples: samples.map(({ ids }) => [...ids]),
  });
  logger.info({ model: source.info.name, ...report, folder: target, reused }, 'rewritten model');
  return describeModelFolder(target, { ...options, choice: { file: graphFile }, rewrittenAs: dtype });
}
