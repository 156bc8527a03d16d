/**
 * What int8 gives: fp32, dynamic int8, row-wise int8 and block-wise int8 of one random-weight model, side by side.
 *   node bench/quantize.ts [m3|mini|m3-full] [--rounds 7] [--seconds 420] [--tokens 1024] [--variants fp32,int8,…]
 *     [--threads N] [--clock wall|cpu]
 * m3 has the size of BGE-M3 without most of its vocabulary; m3-full is as large as BGE-M3's file and is only quantised,
 * as MODEL_DTYPE=int8 does it, for the time and the memory. On a machine that others use, `--clock cpu --threads 1`
 * counts processor time instead of waiting. Prints a table and writes bench/out/quantize-SIZE.json. Variants take turns
 * inside each round, so that another load on the machine hits all of them; speeds are medians, ratios medians of the
 * rounds' ratios. Rounds end early when the seconds are used up.
 */
import '@trivec/core/startAsServer';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { sessionOptions } from '@trivec/core/engine/sessionOptions';
import { type RewriteReport, rewriteModelFile, rewriteWith } from '@trivec/core/onnx/quantize';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { SIZES, writeEncoder } from './models/encoder.ts';
import { DynamicInt8, plainProducts } from './quantizeVariants.ts';
import { numberFlag, parseFlags } from './speed/flags.ts';

const LENGTHS = [64, 256, 512];
const VARIANTS = ['fp32', 'int8-dynamic', 'int8', 'int8-precise'] as const;
type Variant = (typeof VARIANTS)[number];

const { values: flags, positionals } = parseFlags({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '7' },
    seconds: { type: 'string', default: '420' },
    tokens: { type: 'string', default: '1024' },
    clock: { type: 'string', default: 'wall' },
    variants: { type: 'string', default: VARIANTS.join(',') },
    threads: { type: 'string', default: String(Math.max(1, availableParallelism())) },
  },
});
const sizeName = (positionals[0] ?? 'm3') as keyof typeof SIZES;
const size = SIZES[sizeName];
const rounds = numberFlag('rounds', flags.rounds, 1);
const tokens = numberFlag('tokens', flags.tokens, 1);
const threads = numberFlag('threads', flags.threads, 1);
const maxSeconds = numberFlag('seconds', flags.seconds);
const variants = VARIANTS.filter((variant) => flags.variants.split(',').includes(variant));
/** What users get. */
const options = sessionOptions({
  provider: { device: 'cpu', name: 'cpu' },
  intraOpThreads: threads,
  spinWhenIdle: false,
});

async function makeVariant(
  variant: Variant,
  source: string,
  target: string,
): Promise<RewriteReport | undefined> {
  if (variant === 'fp32') return undefined;
  if (variant === 'int8-dynamic')
    return await rewriteWith(
      source,
      target,
      { dtype: variant },
      ({ editor, store }) => new DynamicInt8(editor, store),
    );
  return await rewriteModelFile(source, target, { dtype: variant, samples: SAMPLES });
}

/** As many texts, and as long, as those that int8 is fitted to. */
const SAMPLES = Array.from({ length: 43 }, (_, text) =>
  Array.from({ length: 16 + text }, (_, at) => 4 + ((at * 7919 + text * 104_729) % (size.vocabulary - 4))),
);

/** Ids of a batch of equal texts lengths; the same numbers every time. */
function feeds(length: number, batch: number): Record<string, Tensor> {
  const ids = BigInt64Array.from({ length: length * batch }, (_, i) =>
    BigInt(4 + ((i * 2654435761) % (size.vocabulary - 4))),
  );
  return {
    input_ids: new Tensor('int64', ids, [batch, length]),
    attention_mask: new Tensor('int64', new BigInt64Array(length * batch).fill(1n), [batch, length]),
  };
}

async function seconds(run: () => Promise<unknown>): Promise<number> {
  const [start, used] = [performance.now(), process.cpuUsage()];
  await run();
  const { user, system } = process.cpuUsage(used);
  return flags.clock === 'cpu' ? (user + system) / 1e6 : (performance.now() - start) / 1000;
}

function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

function cosine(a: Float32Array, b: Float32Array): number {
  let [product, left, right] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    product += a[i]! * b[i]!;
    left += a[i]! ** 2;
    right += b[i]! ** 2;
  }
  return product / Math.sqrt(left * right);
}

/** First token's vector of each text. */
async function vectors(session: InferenceSession, input: Record<string, Tensor>): Promise<Float32Array[]> {
  const { last_hidden_state } = await session.run(input);
  const [batch, length, dims] = last_hidden_state!.dims as [number, number, number];
  const data = last_hidden_state!.data as Float32Array;
  return Array.from({ length: batch }, (_, i) => data.slice(i * length * dims, (i * length + 1) * dims));
}

async function aloneDifference(session: InferenceSession): Promise<number> {
  const [alone] = await vectors(session, feeds(24, 1));
  const [batched] = await vectors(session, feeds(24, 7));
  return alone!.reduce((worst, value, i) => Math.max(worst, Math.abs(value - batched![i]!)), 0);
}

/** Of this process so far. */
function peakMegabytes(): number {
  return Math.round(process.resourceUsage().maxRSS / 1024);
}

async function save(figures: object): Promise<void> {
  const machine = { cpu: cpus()[0]?.model, threads, node: process.version, load: loadavg() };
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  await mkdir(new URL('out/', import.meta.url), { recursive: true });
  await writeFile(
    new URL(`out/quantize-${sizeName}.json`, import.meta.url),
    `${JSON.stringify({ size: sizeName, clock: flags.clock, machine, commit, ...figures, peakMegabytes: peakMegabytes() }, null, 2)}\n`,
  );
}

const endsAt = performance.now() + maxSeconds * 1000;
const folder = await mkdtemp(join(tmpdir(), 'bench-quantize-'));
/** What the rewriting alone takes. */
async function measureQuantising(source: string): Promise<void> {
  const secondsWithoutSamples = await seconds(() =>
    rewriteModelFile(source, join(folder, 'plain.onnx'), { dtype: 'int8' }),
  );
  const secondsWithSamples = await seconds(() => makeVariant('int8', source, join(folder, 'int8.onnx')));
  const megabytes = Math.round(((await stat(source)).size + (await stat(`${source}_data`)).size) / 1e6);
  const figures = { megabytes, secondsWithoutSamples, secondsWithSamples };
  console.log(figures, `peak memory: ${peakMegabytes()} MB`);
  await save(figures);
}

async function compareVariants(source: string): Promise<void> {
  const sessions = new Map<Variant, InferenceSession>();
  const facts = new Map<Variant, Record<string, number>>();
  for (const variant of variants) {
    const path = join(folder, `${variant}.onnx`);
    const rewriteSeconds = await seconds(() => makeVariant(variant, source, path));
    const bytes = (await stat(path)).size + (await stat(`${path}_data`)).size;
    const readSeconds = await seconds(() => readFile(`${path}_data`));
    const loadSeconds = await seconds(async () => {
      sessions.set(variant, await InferenceSession.create(path, options));
    });
    facts.set(variant, { rewriteSeconds, megabytes: bytes / 1e6, loadSeconds, readSeconds });
  }
  const reference = sessions.has('fp32') ? await vectors(sessions.get('fp32')!, feeds(64, 8)) : undefined;
  for (const variant of variants) {
    const session = sessions.get(variant)!;
    const found = await vectors(session, feeds(64, 8));
    const cosines = reference?.map((vector, i) => cosine(vector, found[i]!)) ?? [];
    Object.assign(facts.get(variant)!, {
      minCosine: Math.min(...cosines),
      aloneDifference: await aloneDifference(session),
    });
  }

  const products = plainProducts(size);
  const plain = await InferenceSession.create(products.bytes, options);
  const table: Record<string, Record<string, number | string>> = {};
  const speeds = new Map<Variant, Record<number, number[]>>(variants.map((variant) => [variant, {}]));
  const share: Record<number, number[]> = {};
  for (const [index, length] of LENGTHS.entries()) {
    const lengthEndsAt = performance.now() + (endsAt - performance.now()) / (LENGTHS.length - index);
    const batch = Math.max(1, Math.floor(tokens / length));
    const input = feeds(length, batch);
    const rows = Object.fromEntries(
      Object.entries(products.inputs).map(([name, dims]) => [
        name,
        new Tensor('uint8', new Uint8Array(batch * length * dims).fill(131), [batch * length, dims]),
      ]),
    );
    for (const session of sessions.values()) await session.run(input);
    await plain.run(rows, products.fetches);
    for (let round = 0; round < rounds && (round === 0 || performance.now() < lengthEndsAt); round++) {
      // Right after another model its weights are not in the caches yet: the second run counts.
      await plain.run(rows, products.fetches);
      const plainSeconds = await seconds(() => plain.run(rows, products.fetches));
      for (const [variant, session] of sessions) {
        const taken = await seconds(() => session.run(input));
        const list = speeds.get(variant)!;
        list[length] ??= [];
        list[length].push((batch * length) / taken);
        if (variant === 'int8') {
          share[length] ??= [];
          share[length].push((plainSeconds * size.layers) / taken);
        }
      }
    }
  }
  for (const variant of variants) {
    const row: Record<string, number | string> = {};
    for (const length of LENGTHS) {
      const own = speeds.get(variant)![length]!;
      const base = speeds.get('fp32')?.[length];
      const ratio = base === undefined ? Number.NaN : median(own.map((speed, i) => speed / base[i]!));
      row[`${length}: tokens/s`] = Math.round(median(own));
      row[`${length}: vs fp32`] = ratio.toFixed(2);
    }
    const { megabytes, rewriteSeconds, loadSeconds, readSeconds, minCosine, aloneDifference } =
      facts.get(variant)!;
    row.MB = Math.round(megabytes!);
    row['rewrite s'] = rewriteSeconds!.toFixed(1);
    row['load/read'] = (loadSeconds! / readSeconds!).toFixed(1);
    row['min cosine'] = minCosine!.toFixed(5);
    row['alone vs batch'] = aloneDifference!;
    table[variant] = row;
  }
  const shares = Object.fromEntries(Object.entries(share).map(([length, all]) => [length, median(all)]));
  console.table(table);
  console.log('Share of the plain int8 products that the int8 encoder reaches (goal: 0.70):', shares);
  await save({ rounds, tokens, table, shares });
  for (const session of [...sessions.values(), plain]) await session.release();
}

try {
  const source = join(folder, 'fp32.onnx');
  console.error(`Writing a ${sizeName} model to ${folder} …`);
  await writeEncoder(source, size);
  await (sizeName === 'm3-full' ? measureQuantising(source) : compareVariants(source));
} finally {
  await rm(folder, { recursive: true });
}
