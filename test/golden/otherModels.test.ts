import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { createEngine } from '@trivec/core/engine/engine';
import type { Engine } from '@trivec/core/engine/types';
import { TrivecError } from '@trivec/core/errors';
import { type DescribeOptions, describeModelFolder, type ModelDescription } from '@trivec/core/models/folder';
import type { TextVectors } from '@trivec/core/vectors/types';
import { silentLogger } from '../support/stubDevice.ts';

/** What `scripts/fixtures/make_tiny_others.py` writes. */
interface Judged {
  query: string;
  passage: string;
  instruction?: string;
  ids: number[];
  logit: number;
}

const CONFIG = {
  device: 'cpu',
  intraOpThreads: 1,
  intraOpSpinning: false,
  maxBatchTokens: 1024,
  maxBulkBatchMs: 500,
};

function folderOf(name: string): string {
  return fileURLToPath(new URL(`./models/${name}`, import.meta.url));
}

async function withEngine(
  name: string,
  use: (engine: Engine) => Promise<void>,
  options: DescribeOptions & Partial<Pick<ModelDescription, 'paddingSide'>> = {},
): Promise<void> {
  const { paddingSide, ...rest } = options;
  const described = await describeModelFolder(folderOf(name), rest);
  const model = paddingSide === undefined ? described : { ...described, paddingSide };
  const engine = await createEngine({ model, config: CONFIG, logger: silentLogger });
  try {
    await use(engine);
  } finally {
    await engine.close();
  }
}

async function expectedOf<T>(name: string): Promise<T[]> {
  return JSON.parse(await readFile(`${folderOf(name)}/expected.json`, 'utf8'));
}

function greatestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  assert.equal(a.length, b.length);
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Math.abs(a[i]! - b[i]!));
  return most;
}

function soundOf(outcome: TextVectors | TrivecError | undefined): TextVectors {
  assert.ok(outcome !== undefined && !(outcome instanceof TrivecError), String(outcome));
  return outcome;
}

test('a decoder with Qwen3’s inputs: positions, an empty past, the last token, padding on either side', async () => {
  const { paddingSide, inputs, heads } = await describeModelFolder(folderOf('tiny-qwen3'));
  assert.deepEqual([paddingSide, heads.dense?.pooling], ['left', 'last']);
  assert.deepEqual(
    inputs.map(({ role }) => role),
    ['ids', 'mask', 'positions', 'past', 'past', 'past', 'past'],
  );
  const expected = await expectedOf<{ text: string; ids: number[]; dense: number[] }>('tiny-qwen3');
  const compare = async (engine: Engine) => {
    const texts = await engine.encode(expected.map(({ text }) => text));
    for (const [i, { ids }] of texts.entries()) assert.deepEqual([...ids], expected[i]!.ids);
    const together = await engine.embed(texts, { outputs: ['dense'], lane: 'bulk' });
    const alone = await Promise.all(
      texts.map((text) => engine.embed([text], { outputs: ['dense'], lane: 'interactive' })),
    );
    for (const [i, { dense }] of expected.entries()) {
      assert.ok(greatestDifference(soundOf(together.vectors[i]).dense!, dense) <= 1e-5);
      assert.ok(greatestDifference(soundOf(alone[i]!.vectors[0]).dense!, dense) <= 1e-5);
    }
  };
  await withEngine('tiny-qwen3', compare);
  await withEngine('tiny-qwen3', compare, { paddingSide: 'right' });
});

for (const name of ['tiny-xlmr-reranker', 'tiny-bert-reranker', 'tiny-qwen3-reranker']) {
  test(`${name}: ids and logits of pairs are the reference's, alone and in batches`, async () => {
    const expected = await expectedOf<Judged>(name);
    await withEngine(name, async (engine) => {
      const { kind, outputs, denseDims } = engine.model;
      assert.deepEqual([kind, outputs, denseDims], ['reranker', [], 0]);
      const encoded = await Promise.all(
        expected.map(async ({ query, passage, instruction }) => {
          const options = instruction === undefined ? {} : { instruction };
          return (await engine.encodePairs([[query, passage]], options))[0]!;
        }),
      );
      for (const [i, { ids }] of encoded.entries()) assert.deepEqual([...ids], expected[i]!.ids);
      const together = await engine.score(encoded, { lane: 'bulk' });
      for (const [i, { logit }] of expected.entries()) {
        const alone = await engine.score([encoded[i]!], { lane: 'interactive' });
        for (const score of [together.scores[i], alone.scores[0]])
          assert.ok(typeof score === 'number' && Math.abs(score - logit) <= 1e-5, `${score} and ${logit}`);
      }
    });
  });
}

test('a reranker has no vectors, an embedding model reads no pairs: both say so', async () => {
  await withEngine('tiny-bert-reranker', async (engine) => {
    const texts = await engine.encode(['a']);
    await assert.rejects(engine.embed(texts, { outputs: ['dense'], lane: 'bulk' }), {
      code: 'unknown_output',
    });
    await assert.rejects(engine.encodePairs([['a', 'b']], { maxTokens: 3 }), { code: 'invalid_request' });
  });
  await withEngine('tiny-bert-mean', async (engine) => {
    await assert.rejects(engine.encodePairs([['a', 'b']]), { code: 'invalid_request' });
    await assert.rejects(engine.score([], { lane: 'bulk' }), { code: 'invalid_request' });
  });
});

test('float16 files are near the float32 values, and another model by name and fingerprint', async () => {
  interface Three {
    text: string;
    dense: number[];
    sparse: { indices: number[]; values: number[] };
  }
  const expected = await expectedOf<Three>('tiny-m3-fp16');
  const { info } = await describeModelFolder(folderOf('tiny-m3-raw'));
  await withEngine(
    'tiny-m3-fp16',
    async (engine) => {
      assert.equal(engine.model.dtype, 'fp16');
      assert.notEqual(engine.model.fingerprint, info.fingerprint);
      const texts = await engine.encode(expected.map(({ text }) => text));
      const { vectors } = await engine.embed(texts, { outputs: ['dense', 'sparse'], lane: 'bulk' });
      for (const [i, { dense, sparse }] of expected.entries()) {
        const found = soundOf(vectors[i]);
        assert.ok(greatestDifference(found.dense!, dense) < 0.01);
        const weights = new Map([...found.sparse!.indices].map((id, at) => [id, found.sparse!.values[at]!]));
        for (const [at, id] of sparse.indices.entries())
          assert.ok(Math.abs((weights.get(id) ?? 0) - sparse.values[at]!) < 0.03);
      }
    },
    { choice: { dtype: 'fp16' } },
  );
});
