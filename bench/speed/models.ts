/** The models of the benches that run whole servers: random weights, so that no download is needed. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadConfig } from '@trivec/core/config';
import { describeModel } from '@trivec/core/models/describe';
import type { ModelDescription } from '@trivec/core/models/folder';
import { loadTokenizer, type Tokenizer } from '@trivec/core/models/tokenizer';
import { type EncoderSize, SIZES } from '../models/encoder.ts';
import { makeModelFolder, SIZE } from './rig.ts';
import { wholeWords } from './words.ts';

/** `mini`: MiniLM's layers; `m3`: BGE-M3's. Both with the built-in model's vocabulary, whose tokenizer they use. */
export const BENCH_SIZES = {
  mini: SIZE,
  m3: { ...SIZES.m3, vocabulary: SIZE.vocabulary },
} as const satisfies Record<string, EncoderSize>;

export const DTYPES = ['fp32', 'int8'] as const;

export interface BenchModel {
  /** What a server needs to serve it. */
  env: Record<string, string>;
  description: ModelDescription;
  tokenizer: Tokenizer;
  words: string[];
}

/** Made in `folder`; int8 is made from the fp32 file as a server makes it. */
export async function makeBenchModel(
  folder: string,
  size: keyof typeof BENCH_SIZES,
  dtype: (typeof DTYPES)[number],
): Promise<BenchModel> {
  await makeModelFolder(folder, BENCH_SIZES[size]);
  const env = { MODEL: folder, MODEL_DTYPE: dtype };
  const description = await describeModel(folder, loadConfig(env), { info: () => {} });
  const tokenizerFile = join(folder, 'tokenizer.json');
  const { model } = JSON.parse(await readFile(tokenizerFile, 'utf8')) as {
    model: { vocab: Record<string, number> };
  };
  return {
    env,
    description,
    tokenizer: await loadTokenizer(tokenizerFile),
    words: wholeWords(model.vocab),
  };
}
