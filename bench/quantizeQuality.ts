/**
 * How far the rewritten forms of a real model are from its fp32 vectors, for maintainers.
 *   TRIVEC_DATA=… node bench/quantizeQuality.ts FOLDER [--texts 500] [--tokens 256] [--pooling mean|cls] [--prefix P]
 *     [--variants int8-dynamic,int8,…] [--ndcg] [--cache DIR]
 * FOLDER holds model.onnx (fp32), tokenizer.json and config.json. TRIVEC_DATA holds scifact/ and text/. Prints cosines
 * on real texts, the largest difference between a text alone and in a batch, and with --ndcg the nDCG@10 on SciFact
 * with the interval of a paired bootstrap over its queries. Vectors are kept in the cache folder: a run that was cut
 * off goes on where it was.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { encodeSamples } from '@trivec/core/models/rewritten';
import { loadTokenizer } from '@trivec/core/models/tokenizer';
import { type RewriteOptions, rewriteModelFile, rewriteWith } from '@trivec/core/onnx/quantize';
import { denseScore } from '@trivec/core/vectors/scores';
import { pairedBootstrap } from './quality/bootstrap.ts';
import { openCollection } from './quality/collection.ts';
import { evaluate, mean, type Scored } from './quality/metrics.ts';
import { DynamicInt8 } from './quantizeVariants.ts';
import { embedCached, PooledModel, type Pooling } from './quantizeVectors.ts';
import { numberFlag, parseFlags } from './speed/flags.ts';

const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    texts: { type: 'string', default: '500' },
    tokens: { type: 'string', default: '256' },
    pooling: { type: 'string', default: 'mean' },
    prefix: { type: 'string', default: '' },
    variants: { type: 'string', default: 'int8-dynamic,int8,int8-precise,fp16' },
    ndcg: { type: 'boolean', default: false },
    cache: { type: 'string', default: join(tmpdir(), 'trivec-bench-vectors') },
  },
});
const [folder] = positionals;
const data = process.env.TRIVEC_DATA;
if (folder === undefined || data === undefined) {
  console.error('Usage: TRIVEC_DATA=FOLDER node bench/quantizeQuality.ts MODEL_FOLDER');
  process.exit(2);
}
const pooling = flags.pooling as Pooling;
const maxTokens = numberFlag('tokens', flags.tokens, 3);
const count = numberFlag('texts', flags.texts, 1);
const tokenizer = await loadTokenizer(join(folder, 'tokenizer.json'));
const collection = await openCollection(join(data, 'scifact'), 'test');
const documents = await Array.fromAsync(collection.documents());
const passages: string[] = [];
for (const name of (await readdir(join(data, 'text'))).filter((file) => file.endsWith('.jsonl')).sort())
  for (const line of (await readFile(join(data, 'text', name), 'utf8')).trim().split('\n'))
    passages.push((JSON.parse(line) as { text: string }).text);

function spread<T>(items: readonly T[], count: number): T[] {
  return Array.from(
    { length: Math.min(count, items.length) },
    (_, i) => items[Math.floor((i * items.length) / count)]!,
  );
}

async function encode(texts: readonly string[]): Promise<number[][]> {
  const encoded = await tokenizer.encode(
    texts.map((text) => flags.prefix + text),
    { maxTokens },
  );
  return encoded.map(({ ids }) => [...ids]);
}

/** nDCG@10 of each query. */
async function ndcgs(model: PooledModel): Promise<number[]> {
  const vectors = await embedCached(model, await encode(documents.map(({ text }) => text)), flags.cache);
  const asked = [...collection.qrels.keys()];
  const questions = await embedCached(
    model,
    await encode(asked.map((id) => collection.queries.get(id)!)),
    flags.cache,
  );
  const run = new Map<string, Scored[]>(
    asked.map((id, q) => [
      id,
      documents.map((document, i) => ({ id: document.id, score: denseScore(questions[q]!, vectors[i]!) })),
    ]),
  );
  return evaluate(run, collection.qrels).map(({ ndcg10 }) => ndcg10);
}

const samples = await encodeSamples(tokenizer, maxTokens);
const VARIANTS: Record<string, Omit<RewriteOptions, 'dtype'> & { dtype: string }> = {
  'int8-dynamic': { dtype: 'int8-dynamic' },
  int8: { dtype: 'int8', samples },
  'int8-precise': { dtype: 'int8-precise', samples },
  fp16: { dtype: 'fp16' },
  'int8 without samples': { dtype: 'int8' },
  'int8, int8 vocabulary': { dtype: 'int8', samples, vocabulary: 'int8' },
};

const texts = await encode([
  ...spread(
    documents.map(({ text }) => text),
    count * 0.4,
  ),
  ...spread([...collection.queries.values()], count * 0.2),
  ...spread(passages, count * 0.4),
]);
const work = await mkdtemp(join(tmpdir(), 'bench-quality-'));
try {
  const source = join(folder, 'model.onnx');
  const reference = await PooledModel.open(source, pooling);
  const wanted = await embedCached(reference, texts, flags.cache);
  const base = flags.ndcg ? await ndcgs(reference) : [];
  await reference.release();
  const table: Record<string, Record<string, string | number>> = {};
  const measured = new Map<string, number[]>();
  if (flags.ndcg) table.fp32 = { 'nDCG@10': mean(base).toFixed(4) };
  for (const name of flags.variants.split(',').filter((each) => each in VARIANTS)) {
    const options = VARIANTS[name]!;
    const path = join(work, `${Object.keys(table).length}.onnx`);
    const { bytes } =
      options.dtype === 'int8-dynamic'
        ? await rewriteWith(source, path, options, ({ editor, store }) => new DynamicInt8(editor, store))
        : await rewriteModelFile(source, path, options as RewriteOptions);
    const model = await PooledModel.open(path, pooling);
    const found = await embedCached(model, texts, flags.cache);
    const cosines = wanted.map((vector, at) => denseScore(vector, found[at]!));
    const [alone] = await model.embed([texts[1]!]);
    const batched = (await model.embed([texts[0]!, texts[1]!, texts.at(-1)!]))[1]!;
    table[name] = {
      MB: (bytes / 1e6).toFixed(1),
      'min cosine': Math.min(...cosines).toFixed(5),
      'mean cosine': mean(cosines).toFixed(6),
      'alone vs batch': Math.max(...alone!.map((value, dim) => Math.abs(value - batched[dim]!))),
    };
    if (flags.ndcg) {
      const own = await ndcgs(model);
      table[name]['nDCG@10'] = mean(own).toFixed(4);
      for (const [other, theirs] of [['fp32', base] as const, ...measured]) {
        const { mean: moved, low, high } = pairedBootstrap(own.map((value, at) => value - theirs[at]!));
        table[name][`vs ${other}, 95 %`] = `${moved.toFixed(4)} (${low.toFixed(4)} … ${high.toFixed(4)})`;
      }
      measured.set(name, own);
    }
    await model.release();
    console.error(name, table[name]);
  }
  console.table(table);
  const out = new URL('out/', import.meta.url);
  await mkdir(out, { recursive: true });
  const file = new URL(`quantize-quality-${basename(resolve(folder))}.json`, out);
  const machine = { node: process.version };
  await writeFile(
    file,
    `${JSON.stringify({ texts: texts.length, maxTokens, pooling, machine, table }, null, 2)}\n`,
  );
} finally {
  await rm(work, { recursive: true });
}
