import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { createEngine } from '@trivec/core/engine/engine';
import type { Engine } from '@trivec/core/engine/types';
import { TrivecError } from '@trivec/core/errors';
import { describeModelFolder } from '@trivec/core/models/folder';
import { addYesNo } from '@trivec/core/onnx/addYesNo';
import { inspectGraph } from '@trivec/core/onnx/inspect';
import { silentLogger } from '../support/stubDevice.ts';

/** What `scripts/fixtures/make_tiny_int8.py` writes: each text and each pair alone. */
interface Expected {
  text: string;
  ids: number[];
  dense: number[];
  sparse: { indices: number[]; values: number[] };
  colbert: { rows: number; dims: number; sample: [row: number, values: number[]][] };
}

/** Integer products are exact where the processor has them; older ones (AVX2) cut sums off at 16 bits. */
const TOLERANCE = 0.02;
const CONFIG = {
  device: 'cpu',
  intraOpThreads: 1,
  intraOpSpinning: false,
  maxBatchTokens: 1024,
  maxBulkBatchMs: 500,
};

async function withEngine(
  name: string,
  use: (engine: Engine, folder: string) => Promise<void>,
): Promise<void> {
  const folder = fileURLToPath(new URL(`./models/${name}`, import.meta.url));
  const engine = await createEngine({
    model: await describeModelFolder(folder),
    config: CONFIG,
    logger: silentLogger,
  });
  try {
    await use(engine, folder);
  } finally {
    await engine.close();
  }
}

async function expectedOf<T>(folder: string): Promise<T[]> {
  return JSON.parse(await readFile(`${folder}/expected.json`, 'utf8'));
}

function near(actual: ArrayLike<number>, expected: ArrayLike<number>, what: string): void {
  assert.equal(actual.length, expected.length, what);
  for (let i = 0; i < actual.length; i++)
    assert.ok(
      Math.abs(actual[i]! - expected[i]!) <= TOLERANCE,
      `${what}[${i}]: ${actual[i]} and ${expected[i]}`,
    );
}

test('published dynamic int8: the three heads are what onnxruntime in Python gives, each text alone', async () => {
  await withEngine('tiny-m3-int8', async (engine, folder) => {
    assert.deepEqual([engine.model.dtype, engine.model.batchDependent], ['int8-dynamic', true]);
    for (const { text, ids, dense, sparse, colbert } of await expectedOf<Expected>(folder)) {
      const encoded = await engine.encode([text]);
      assert.deepEqual([...encoded[0]!.ids], ids);
      const { vectors } = await engine.embed(encoded, { outputs: engine.model.outputs, lane: 'bulk' });
      const [found] = vectors;
      assert.ok(found !== undefined && !(found instanceof TrivecError));
      const name = JSON.stringify(text.slice(0, 30));
      near(found.dense!, dense, `dense of ${name}`);
      const weights = new Map(Array.from(found.sparse!.indices, (id, at) => [id, found.sparse!.values[at]!]));
      const either = [...new Set([...weights.keys(), ...sparse.indices])];
      const wanted = new Map(sparse.indices.map((id, at) => [id, sparse.values[at]!]));
      near(
        either.map((id) => weights.get(id) ?? 0),
        either.map((id) => wanted.get(id) ?? 0),
        `sparse of ${name}`,
      );
      assert.deepEqual([found.colbert!.rows, found.colbert!.dims], [colbert.rows, colbert.dims]);
      for (const [row, values] of colbert.sample) {
        const from = row * colbert.dims;
        near(found.colbert!.data.subarray(from, from + colbert.dims), values, `row ${row} of ${name}`);
      }
    }
  });
});

test('a reranker that is published as dynamic int8 is cut to its two answers and judges alike', async () => {
  await withEngine('tiny-qwen3-reranker-int8', async (engine, folder) => {
    assert.deepEqual([engine.model.kind, engine.model.dtype], ['reranker', 'int8-dynamic']);
    const cases = await expectedOf<{ query: string; passage: string; instruction?: string; logit: number }>(
      folder,
    );
    for (const { query, passage, instruction, logit } of cases) {
      const pair = await engine.encodePairs(
        [[query, passage]],
        instruction === undefined ? {} : { instruction },
      );
      const { scores } = await engine.score(pair, { lane: 'bulk' });
      near(scores as number[], [logit], JSON.stringify(query.slice(0, 30)));
    }
  });
});

test('the vocabulary’s product is cut to two columns, in fp32 as in int8; other outputs are gone', async () => {
  for (const [name, graph] of [
    ['tiny-qwen3-reranker', 'model.onnx'],
    ['tiny-qwen3-reranker-int8', 'model_quantized.onnx'],
  ]) {
    const bytes = await readFile(fileURLToPath(new URL(`./models/${name}/${graph}`, import.meta.url)));
    const cut = addYesNo(bytes, { logits: 'logits', yes: 5, no: 6 });
    assert.equal(cut.isCut, true);
    const { outputs } = inspectGraph(cut.bytes);
    assert.deepEqual(
      outputs.map(({ shape }) => shape),
      [['batch_size', 'sequence_length', 1]],
    );
  }
});
