/**
 * How far the rewritten forms of a real model are from its fp32 vectors, for maintainers.
 *   TRIVEC_DATA=… node bench/quantizeQuality.ts FOLDER [--texts 500] [--pooling mean|cls] [--ndcg] [--documents N]
 * FOLDER holds model.onnx (fp32), tokenizer.json and config.json. TRIVEC_DATA holds scifact/ and text/. Prints cosines
 * on real texts, the largest difference between a text alone and in a batch, and with --ndcg the nDCG@10 on SciFact
 * with the interval of a paired bootstrap over its queries.
 */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadTokenizer } from '@trivec/core/models/tokenizer';
import { type RewriteOptions, rewriteModelFile, rewriteWith } from '@trivec/core/onnx/quantize';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { DynamicInt8 } from './quantizeVariants.ts';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    texts: { type: 'string', default: '500' },
    tokens: { type: 'string', default: '256' },
    pooling: { type: 'string', default: 'mean' },
    prefix: { type: 'string', default: '' },
    ndcg: { type: 'boolean', default: false },
    documents: { type: 'string', default: '1000000' },
  },
});
const [folder] = positionals;
const data = process.env.TRIVEC_DATA;
if (folder === undefined || data === undefined) {
  console.error('Usage: TRIVEC_DATA=FOLDER node bench/quantizeQuality.ts MODEL_FOLDER');
  process.exit(2);
}
const maxTokens = Number(flags.tokens);
const tokenizer = await loadTokenizer(join(folder, 'tokenizer.json'));

async function readLines<T>(path: string): Promise<T[]> {
  return (await readFile(path, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as T);
}

interface Row {
  id: string;
  title?: string;
  text: string;
}
const corpus = (await readLines<Row>(join(data, 'scifact', 'corpus.jsonl'))).slice(
  0,
  Number(flags.documents),
);
const queries = await readLines<Row>(join(data, 'scifact', 'queries.jsonl'));
const contents = corpus.map(({ title, text }) => `${title} ${text}`);
const passages: string[] = [];
for (const name of (await readdir(join(data, 'text'))).filter((file) => file.endsWith('.jsonl')))
  passages.push(...(await readLines<Row>(join(data, 'text', name))).map(({ text }) => text));

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

type Embed = (batch: readonly number[][]) => Promise<Float32Array[]>;

function embedderOf(session: InferenceSession): Embed {
  return async (batch) => {
    const length = Math.max(...batch.map((ids) => ids.length));
    const filled = (value: (ids: number[], at: number) => number) =>
      new Tensor(
        'int64',
        BigInt64Array.from(
          batch.flatMap((ids) => Array.from({ length }, (_, at) => value(ids, at))),
          BigInt,
        ),
        [batch.length, length],
      );
    const all: Record<string, () => Tensor> = {
      input_ids: () => filled((ids, at) => ids[at] ?? 0),
      attention_mask: () => filled((ids, at) => (at < ids.length ? 1 : 0)),
      token_type_ids: () => filled(() => 0),
    };
    const feeds = Object.fromEntries(session.inputNames.map((name) => [name, all[name]!()]));
    const output = session.outputNames[0]!;
    const hidden = (await session.run(feeds, [output]))[output]!;
    const dims = hidden.dims[2]!;
    const values = hidden.data as Float32Array;
    return batch.map((ids, row) => {
      const vector = new Float32Array(dims);
      const rows = flags.pooling === 'cls' ? 1 : ids.length;
      for (let at = 0; at < rows; at++)
        for (let dim = 0; dim < dims; dim++) vector[dim]! += values[(row * length + at) * dims + dim]!;
      const norm = Math.hypot(...vector);
      return vector.map((value) => value / norm);
    });
  };
}

/** Sorted by length and cut at 2048 padded tokens, then in the order given. */
async function embedAll(embed: Embed, texts: readonly number[][]): Promise<Float32Array[]> {
  const order = texts.map((_, i) => i).sort((a, b) => texts[a]!.length - texts[b]!.length);
  const vectors: Float32Array[] = [];
  while (order.length > 0) {
    const count = Math.max(1, Math.floor(2048 / texts[order.at(-1)!]!.length));
    const batch = order.splice(-count);
    const found = await embed(batch.map((i) => texts[i]!));
    batch.forEach((i, at) => {
      vectors[i] = found[at]!;
    });
  }
  return vectors;
}

const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** nDCG@10 of each query. */
async function ndcgs(embed: Embed): Promise<number[]> {
  const qrels = new Map<string, Set<string>>();
  for (const line of (await readFile(join(data!, 'scifact', 'qrels.tsv'), 'utf8')).trim().split('\n')) {
    const [query, document, relevant] = line.split('\t');
    if (Number(relevant) > 0) qrels.set(query!, (qrels.get(query!) ?? new Set()).add(document!));
  }
  const documents = await embedAll(embed, await encode(contents));
  const asked = queries.filter(({ id }) => qrels.has(String(id)));
  const questions = await embedAll(embed, await encode(asked.map(({ text }) => text)));
  const gain = (rank: number) => 1 / Math.log2(rank + 2);
  return questions.map((question, q) => {
    const relevant = qrels.get(String(asked[q]!.id))!;
    const scored = documents.map((vector, i) => ({
      id: String(corpus[i]!.id),
      score: dot(question, vector),
    }));
    const top = scored.sort((a, b) => b.score - a.score).slice(0, 10);
    const found = top.reduce((sum, { id }, rank) => sum + (relevant.has(id) ? gain(rank) : 0), 0);
    return (
      found /
      Array.from({ length: Math.min(10, relevant.size) }, (_, rank) => gain(rank)).reduce((a, b) => a + b)
    );
  });
}

/** 95 % interval of the mean difference, 2,000 paired resamples. */
function bootstrap(differences: readonly number[]): [number, number] {
  let state = 1;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const means = Array.from({ length: 2000 }, () =>
    mean(differences.map(() => differences[Math.floor(next() * differences.length)]!)),
  ).sort((a, b) => a - b);
  return [means[50]!, means[1949]!];
}

const count = Number(flags.texts);
const texts = await encode([
  ...spread(contents, count * 0.4),
  ...spread(
    queries.map(({ text }) => text),
    count * 0.2,
  ),
  ...spread(passages, count * 0.4),
]);
// From the same collections, but texts that are not compared.
const samples = await encode(spread([...contents.slice(3), ...passages.slice(5)], 12)).then((all) =>
  all.map((ids) => [...ids.slice(0, 127), ids.at(-1)!]),
);
const variants: { name: string; options: Omit<RewriteOptions, 'dtype'> & { dtype: string } }[] = [
  { name: 'int8-dynamic', options: { dtype: 'int8-dynamic' } },
  { name: 'int8 without samples', options: { dtype: 'int8' } },
  { name: 'int8', options: { dtype: 'int8', samples } },
  { name: 'int8, int8 vocabulary', options: { dtype: 'int8', samples, vocabulary: 'int8' } },
  { name: 'int8-precise', options: { dtype: 'int8-precise' } },
  { name: 'fp16', options: { dtype: 'fp16' } },
];
const work = await mkdtemp(join(tmpdir(), 'bench-quality-'));
try {
  const source = join(folder, 'model.onnx');
  const reference = embedderOf(await InferenceSession.create(source));
  const wanted = await embedAll(reference, texts);
  const base = flags.ndcg ? await ndcgs(reference) : [];
  if (flags.ndcg) console.log(`fp32: nDCG@10 ${mean(base).toFixed(4)}`);
  const table: Record<string, Record<string, string | number>> = {};
  for (const [i, { name, options }] of variants.entries()) {
    const path = join(work, `${i}.onnx`);
    const { bytes } =
      options.dtype === 'int8-dynamic'
        ? await rewriteWith(source, path, options, ({ editor, store }) => new DynamicInt8(editor, store))
        : await rewriteModelFile(source, path, options as RewriteOptions);
    const embed = embedderOf(await InferenceSession.create(path));
    const found = await embedAll(embed, texts);
    const cosines = wanted.map((vector, at) => dot(vector, found[at]!));
    const [alone] = await embed([texts[1]!]);
    const batched = (await embed([texts[0]!, texts[1]!, texts.at(-1)!]))[1]!;
    table[name] = {
      MB: (bytes / 1e6).toFixed(1),
      'min cosine': Math.min(...cosines).toFixed(5),
      'mean cosine': mean(cosines).toFixed(6),
      'alone vs batch': Math.max(...alone!.map((value, dim) => Math.abs(value - batched[dim]!))),
    };
    if (flags.ndcg) {
      const own = await ndcgs(embed);
      const [low, high] = bootstrap(own.map((value, at) => value - base[at]!));
      table[name]['nDCG@10'] = mean(own).toFixed(4);
      table[name]['vs fp32, 95 %'] = `${low.toFixed(4)} … ${high.toFixed(4)}`;
    }
  }
  console.table(table);
} finally {
  await rm(work, { recursive: true });
}
