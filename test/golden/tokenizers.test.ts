import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadTokenizer } from '@trivec/core/models/tokenizer';
import fc from 'fast-check';

const MODELS = fileURLToPath(new URL('./models', import.meta.url));
const { corpus, golden } = JSON.parse(
  await readFile(new URL('./texts.json', import.meta.url), 'utf8'),
) as Record<'corpus' | 'golden', string[]>;

/** Ranges of many scripts, without what is not assigned or newer than the model's table. */
const SCRIPTS: readonly (readonly [from: number, to: number])[] = [
  [0x20, 0x7e],
  [0xa1, 0x17f],
  [0x391, 0x3a1],
  [0x3b1, 0x3c9],
  [0x410, 0x44f],
  [0x531, 0x556],
  [0x5d0, 0x5ea],
  [0x621, 0x63a],
  [0x905, 0x939],
  [0x995, 0x9a8],
  [0xe01, 0xe30],
  [0x10d0, 0x10f0],
  [0x1200, 0x1248],
  [0x3041, 0x3096],
  [0x30a1, 0x30fa],
  [0x4e00, 0x4fff],
  [0xac00, 0xaeff],
  [0xff21, 0xff5a],
  [0x1f600, 0x1f64f],
];

function variants(): string[] {
  const lines = [...corpus, ...golden.filter((text) => text.length < 1000)];
  return [
    ...lines,
    ...lines.map((line) => line.toUpperCase()),
    ...lines.map((line) => `${line}  ${line.slice(0, 20)}\n`),
    ...lines.map((line) => line.replaceAll(' ', '')),
    ...lines.map((line, i) => `${line} ${lines[(i * 7 + 3) % lines.length]}`),
  ];
}

for (const name of ['tiny-m3', 'tiny-m3-raw', 'tiny-bert-mean']) {
  const file = join(MODELS, name, 'tokenizer.json');

  test(`${name}: both tokenizers give the same ids for sentences in many scripts`, async () => {
    const [native, js] = await Promise.all([loadTokenizer(file, 'native'), loadTokenizer(file, 'js')]);
    assert.deepEqual([native.kind, js.kind], ['native', 'js']);
    const texts = variants();
    assert.ok(texts.length > 400);
    const [a, b] = await Promise.all([
      native.encode(texts, { maxTokens: 64 }),
      js.encode(texts, { maxTokens: 64 }),
    ]);
    const different = texts.filter((_, i) => a[i]!.ids.join() !== b[i]!.ids.join());
    assert.deepEqual(different, []);
    assert.deepEqual(
      a.map(({ originalTokens }) => originalTokens),
      b.map(({ originalTokens }) => originalTokens),
    );
  });

  test(`${name}: and for words made of any letters`, async () => {
    const [native, js] = await Promise.all([loadTokenizer(file, 'native'), loadTokenizer(file, 'js')]);
    const letter = fc
      .constantFrom(...SCRIPTS)
      .chain(([from, to]) => fc.integer({ min: from, max: to }).map((code) => String.fromCodePoint(code)));
    const text = fc
      .array(fc.string({ unit: letter, maxLength: 12 }), { maxLength: 8 })
      .map((words) => words.join(' '));
    await fc.assert(
      fc.asyncProperty(fc.array(text, { minLength: 1, maxLength: 10 }), async (texts) => {
        const [a, b] = await Promise.all([
          native.encode(texts, { maxTokens: 512 }),
          js.encode(texts, { maxTokens: 512 }),
        ]);
        assert.deepEqual(a, b);
      }),
      { numRuns: 60 },
    );
  });
}

test('without the native library: U+0085 is a space, and an endless word is no stack overflow', async () => {
  const js = await loadTokenizer(join(MODELS, 'tiny-m3', 'tokenizer.json'), 'js');
  const [next, space, endless] = await js.encode(['a\u0085b', 'a b', '🎉'.repeat(25_000)], {
    maxTokens: 100_000,
  });
  assert.deepEqual(next, space);
  // Broken in three, with a word's mark before each part.
  assert.ok(
    endless!.originalTokens >= 25_002 && endless!.originalTokens <= 25_010,
    String(endless!.originalTokens),
  );
});

test('settings that were saved with a tokenizer neither cut nor pad', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'trivec-tokenizer-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const json = JSON.parse(await readFile(join(MODELS, 'tiny-m3', 'tokenizer.json'), 'utf8'));
  json.truncation = { max_length: 4, strategy: 'LongestFirst', stride: 0, direction: 'Right' };
  json.padding = {
    strategy: { Fixed: 9 },
    direction: 'Right',
    pad_to_multiple_of: null,
    pad_id: 1,
    pad_type_id: 0,
    pad_token: '<pad>',
  };
  const file = join(folder, 'tokenizer.json');
  await writeFile(file, JSON.stringify(json));
  for (const kind of ['native', 'js'] as const) {
    const tokenizer = await loadTokenizer(file, kind);
    const [short, long] = await tokenizer.encode(['', 'The heron stands in the water.'], { maxTokens: 512 });
    assert.deepEqual([...short!.ids], [0, 2]);
    assert.ok(long!.ids.length > 9);
    assert.equal(long!.ids.at(-1), 2);
  }
});

test('an id that the vocabulary lacks is refused by its number, and none is taken modulo 2^32', async () => {
  for (const kind of ['native', 'js'] as const) {
    const tokenizer = await loadTokenizer(join(MODELS, 'tiny-m3', 'tokenizer.json'), kind);
    const [text] = await tokenizer.encode(['The heron'], { maxTokens: 16 });
    assert.equal((await tokenizer.decode([[...text!.ids]]))[0], 'The heron');
    for (const id of [30_000_000, 2 ** 31 - 1, 2 ** 32, -1])
      await assert.rejects(tokenizer.decode([[0, id]]), {
        code: 'invalid_request',
        message: `${id} is not a token id of this model.`,
      });
  }
});

test('a file that is no tokenizer is refused', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'trivec-tokenizer-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'tokenizer.json');
  await assert.rejects(loadTokenizer(file), { code: 'invalid_model' });
  await writeFile(file, '{"model":');
  for (const kind of ['native', 'js'] as const)
    await assert.rejects(loadTokenizer(file, kind), { code: 'invalid_model' });
});
