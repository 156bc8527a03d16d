import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import test, { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createEngine } from '@trivec/core/engine/engine';
import type { Engine } from '@trivec/core/engine/types';
import { TrivecError } from '@trivec/core/errors';
import { describeModelFolder } from '@trivec/core/models/folder';
import type { TextVectors } from '@trivec/core/vectors/types';
import fc from 'fast-check';
import { silentLogger } from '../support/stubDevice.ts';

/** What `scripts/fixtures/make_tiny_m3.py` writes: the reference's own results, each text alone. */
interface Expected {
  text: string;
  ids: number[];
  originalTokens: number;
  dense: number[];
  sparse?: { indices: number[]; values: number[] };
  colbert?: { rows: number; dims: number; sample: [row: number, values: number[]][] };
}

const TOLERANCE = 1e-5;
const CONFIG = {
  device: 'cpu',
  intraOpThreads: 1,
  intraOpSpinning: false,
  maxBatchTokens: 1024,
  maxBulkBatchMs: 500,
};

function near(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  assert.equal(actual.length, expected.length, what);
  for (let i = 0; i < actual.length; i++)
    assert.ok(
      Math.abs(actual[i]! - expected[i]!) <= TOLERANCE,
      `${what}[${i}]: ${actual[i]} and ${expected[i]}`,
    );
}

function vectorsOf(outcome: TextVectors | TrivecError | undefined): TextVectors {
  assert.ok(outcome !== undefined && !(outcome instanceof TrivecError), String(outcome));
  return outcome;
}

function isAsExpected(vectors: TextVectors, { text, ids, dense, sparse, colbert }: Expected): void {
  const name = JSON.stringify(text.slice(0, 30));
  assert.equal(vectors.tokens, ids.length);
  near(vectors.dense!, dense, `dense of ${name}`);
  if (sparse) {
    assert.deepEqual([...vectors.sparse!.indices], sparse.indices, `sparse ids of ${name}`);
    near(vectors.sparse!.values, sparse.values, `sparse of ${name}`);
  }
  if (!colbert) return;
  const { rows, dims, data } = vectors.colbert!;
  assert.deepEqual([rows, dims], [colbert.rows, colbert.dims]);
  for (const [row, values] of colbert.sample)
    near(data.subarray(row * dims, (row + 1) * dims), values, `colbert row ${row} of ${name}`);
}

function isSame(a: TextVectors, b: TextVectors): void {
  assert.equal(a.tokens, b.tokens);
  near(a.dense!, b.dense!, 'dense');
  assert.deepEqual(a.sparse?.indices, b.sparse?.indices);
  if (a.sparse) near(a.sparse.values, b.sparse!.values, 'sparse');
  if (a.colbert) near(a.colbert.data, b.colbert!.data, 'colbert');
}

for (const name of ['tiny-m3', 'tiny-m3-raw', 'tiny-bert-mean']) {
  const folder = fileURLToPath(new URL(`./models/${name}`, import.meta.url));
  let engine: Engine;
  let expected: Expected[];

  before(async () => {
    const model = await describeModelFolder(folder);
    engine = await createEngine({ model, config: CONFIG, logger: silentLogger });
    expected = JSON.parse(await readFile(`${folder}/expected.json`, 'utf8'));
  });
  after(() => engine.close());

  const embed = async (
    texts: readonly string[],
    lane: 'bulk' | 'interactive' = 'bulk',
  ): Promise<TextVectors[]> => {
    const { vectors } = await engine.embed(await engine.encode(texts), {
      outputs: engine.model.outputs,
      lane,
    });
    return vectors.map(vectorsOf);
  };

  test(`${name}: token ids are the reference's`, async () => {
    const encoded = await engine.encode(expected.map(({ text }) => text));
    for (const [i, { ids, originalTokens }] of encoded.entries()) {
      assert.deepEqual([...ids], expected[i]!.ids);
      assert.equal(originalTokens, expected[i]!.originalTokens);
    }
  });

  test(`${name}: each text alone gives the reference's vectors`, async () => {
    for (const one of expected) isAsExpected((await embed([one.text], 'interactive'))[0]!, one);
  });

  test(`${name}: so do all together, padded in batches`, async () => {
    const vectors = await embed(expected.map(({ text }) => text));
    for (const [i, one] of expected.entries()) isAsExpected(vectors[i]!, one);
  });

  test(`${name}: neither order nor neighbours nor repetition change a vector`, async () => {
    const place = fc.nat({ max: 29 });
    await fc.assert(
      fc.asyncProperty(fc.array(place, { minLength: 1, maxLength: 40 }), async (places) => {
        const vectors = await embed(places.map((at) => expected[at]!.text));
        for (const [i, at] of places.entries()) isAsExpected(vectors[i]!, expected[at]!);
      }),
      { numRuns: 10 },
    );
  });

  test(`${name}: a text of any length and any code points has vectors`, async () => {
    const endless = 'é🎉x'.repeat(25_000);
    const texts = [endless, 'a\ud800b', '\udc00', 'a\ufffdb', '\ufffd', '\u0000\u0085\u200b', '\n\t '];
    const [long, lone, half, replaced, replacement, ...rest] = await embed(texts);
    // WordPiece takes a word of more than 100 letters for one unknown.
    assert.equal(long!.tokens, name === 'tiny-bert-mean' ? 3 : engine.model.maxTokens);
    isSame(lone!, replaced!);
    isSame(half!, replacement!);
    for (const { dense } of rest) assert.ok(dense!.every(Number.isFinite));
  });

  test(`${name}: fewer dimensions are the first ones, normalised again; raw ones are not`, async () => {
    const texts = await engine.encode([expected[9]!.text]);
    const options = { outputs: ['dense'], lane: 'interactive' } as const;
    const whole = vectorsOf((await engine.embed(texts, options)).vectors[0]).dense!;
    const cut = vectorsOf((await engine.embed(texts, { ...options, dimensions: 8 })).vectors[0]).dense!;
    const raw = vectorsOf(
      (await engine.embed(texts, { ...options, dimensions: 8, normalize: false })).vectors[0],
    ).dense!;
    near(
      cut,
      whole.subarray(0, 8).map((value) => value / Math.hypot(...whole.subarray(0, 8))),
      'cut',
    );
    const scale = raw[0]! / whole[0]!;
    near(
      raw,
      whole.subarray(0, 8).map((value) => value * scale),
      'raw',
    );
  });
}

test('a cut keeps CLS and EOS, from either end', async () => {
  const folder = fileURLToPath(new URL('./models/tiny-m3', import.meta.url));
  const engine = await createEngine({
    model: await describeModelFolder(folder),
    config: CONFIG,
    logger: silentLogger,
  });
  const text = 'The heron stands in the shallow water and waits for fish.';
  const [whole, right, left] = (
    await Promise.all([
      engine.encode([text]),
      engine.encode([text], { maxTokens: 6 }),
      engine.encode([text], { maxTokens: 6, truncationDirection: 'left' }),
    ])
  ).map(([one]) => one!);
  const ids = [...whole!.ids];
  assert.deepEqual([...right!.ids], [...ids.slice(0, 5), 2]);
  assert.deepEqual([...left!.ids], [0, ...ids.slice(-5)]);
  assert.deepEqual([right!.originalTokens, left!.originalTokens], [ids.length, ids.length]);
  assert.deepEqual(await engine.decode([ids, ids.slice(0, 1)]), [text, '']);
  await assert.rejects(engine.encode([text], { maxTokens: 2 }), {
    code: 'invalid_request',
    param: 'maxTokens',
  });
  await engine.close();
});
