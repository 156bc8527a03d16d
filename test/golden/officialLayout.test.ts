/** BAAI/bge-m3's own layout: a backbone under `onnx/` with its data beside it, two torch files with the heads. */
import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createEngine } from '@trivec/core/engine/engine';
import { TrivecError } from '@trivec/core/errors';
import { describeModelFolder } from '@trivec/core/models/folder';
import { finishSparse } from '@trivec/core/vectors/heads';
import { silentLogger } from '../support/stubDevice.ts';

const ONNX = fileURLToPath(new URL('./onnx/', import.meta.url));
const CONFIG = {
  device: 'cpu',
  intraOpThreads: 1,
  intraOpSpinning: false,
  maxBatchTokens: 64,
  maxBulkBatchMs: 500,
};

/** Row-major tensors that torch gave for padded batches. */
interface Case {
  shape: [count: number, length: number];
  input_ids: number[];
  attention_mask: number[];
  dense: number[];
  sparse: number[];
  colbert: number[];
}

async function officialFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'trivec-official-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await cp(join(ONNX, 'external'), join(folder, 'onnx'), { recursive: true });
  for (const file of ['sparse_linear.pt', 'colbert_linear.pt'])
    await cp(join(ONNX, file), join(folder, file));
  const letters = [...'abcdefghijklmnopqrstuvwxyz'].map((letter): [string, number] => [letter, -3]);
  const specials = ['<s>', '<pad>', '</s>', '<unk>'];
  const tokenizer = {
    version: '1.0',
    added_tokens: specials.map((content, id) => ({
      id,
      content,
      special: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
    })),
    normalizer: null,
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    post_processor: {
      type: 'TemplateProcessing',
      single: [
        { SpecialToken: { id: '<s>', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
        { SpecialToken: { id: '</s>', type_id: 0 } },
      ],
      pair: [],
      special_tokens: {
        '<s>': { id: '<s>', ids: [0], tokens: ['<s>'] },
        '</s>': { id: '</s>', ids: [2], tokens: ['</s>'] },
      },
    },
    decoder: null,
    model: {
      type: 'Unigram',
      unk_id: 3,
      vocab: [...specials.map((token) => [token, 0]), ['▁', -2], ...letters],
    },
  };
  await writeFile(join(folder, 'onnx', 'tokenizer.json'), JSON.stringify(tokenizer));
  const config = {
    model_type: 'xlm-roberta',
    hidden_size: 32,
    max_position_embeddings: 34,
    pad_token_id: 1,
    vocab_size: 64,
  };
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  return folder;
}

function near(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  assert.equal(actual.length, expected.length, what);
  for (let i = 0; i < actual.length; i++)
    assert.ok(Math.abs(actual[i]! - expected[i]!) <= 1e-5, `${what}[${i}]: ${actual[i]} and ${expected[i]}`);
}

test('backbone, external data and torch heads give three outputs as torch does', async (t) => {
  const folder = await officialFolder(t);
  const model = await describeModelFolder(folder);
  assert.deepEqual(model.info.outputs, ['dense', 'sparse', 'colbert']);
  const engine = await createEngine({ model, config: CONFIG, logger: silentLogger });
  t.after(() => engine.close());
  const { cases } = JSON.parse(await readFile(join(ONNX, 'expected.json'), 'utf8')) as { cases: Case[] };
  for (const { shape, input_ids, attention_mask, dense, sparse, colbert } of cases) {
    const [count, length] = shape;
    const tokens = Array.from(
      { length: count },
      (_, b) => attention_mask.slice(b * length, (b + 1) * length).filter((bit) => bit === 1).length,
    );
    const texts = tokens.map((n, b) => ({
      ids: Int32Array.from(input_ids.slice(b * length, b * length + n)),
      originalTokens: n,
    }));
    const { vectors } = await engine.embed(texts, { outputs: model.info.outputs, lane: 'bulk' });
    for (const [b, outcome] of vectors.entries()) {
      assert.ok(!(outcome instanceof TrivecError));
      near(outcome.dense!, dense.slice(b * 32, (b + 1) * 32), 'dense');
      const weights = Float32Array.from(sparse.slice(b * length, b * length + tokens[b]!));
      const lexical = finishSparse(texts[b]!.ids, weights, new Set([0, 1, 2, 3]));
      assert.deepEqual(outcome.sparse!.indices, lexical.indices);
      near(outcome.sparse!.values, lexical.values, 'sparse');
      const { rows, dims, data } = outcome.colbert!;
      assert.equal(rows, tokens[b]! - 1);
      const from = b * (length - 1) * dims;
      near(data, colbert.slice(from, from + rows * dims), 'colbert');
    }
  }
});

test('other heads make another fingerprint, and half of them is an error', async (t) => {
  const folder = await officialFolder(t);
  const { info } = await describeModelFolder(folder);
  await cp(join(ONNX, 'sparse_linear_fp32.pt'), join(folder, 'sparse_linear.pt'));
  assert.notEqual((await describeModelFolder(folder)).info.fingerprint, info.fingerprint);
  await rm(join(folder, 'colbert_linear.pt'));
  await assert.rejects(describeModelFolder(folder), {
    code: 'invalid_model',
    message: /only one of sparse_linear\.pt/,
  });
});

test('a torch file that is not what it says stops the start with its name', async (t) => {
  const folder = await officialFolder(t);
  await writeFile(join(folder, 'colbert_linear.pt'), 'PK not a checkpoint');
  const model = await describeModelFolder(folder);
  await assert.rejects(createEngine({ model, config: CONFIG, logger: silentLogger }), {
    code: 'invalid_model',
    message: /colbert_linear\.pt/,
  });
});

test('a catalog model without its heads is refused, not served with less', async (t) => {
  const folder = await officialFolder(t);
  const stated = { name: 'BAAI/bge-m3', outputs: ['dense', 'sparse', 'colbert'] } as const;
  const options = { stated: { ...stated, outputs: [...stated.outputs] } };
  assert.equal((await describeModelFolder(folder, options)).info.outputs.length, 3);
  await rm(join(folder, 'sparse_linear.pt'));
  await rm(join(folder, 'colbert_linear.pt'));
  await assert.rejects(describeModelFolder(folder, options), {
    code: 'invalid_model',
    message: /BAAI\/bge-m3 .*give no sparse/,
  });
});
