import assert from 'node:assert/strict';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { loadConfig } from '@trivec/core/config';
import { createEngine } from '@trivec/core/engine/engine';
import { TrivecError } from '@trivec/core/errors';
import { describeModel } from '@trivec/core/models/describe';
import type { TextVectors } from '@trivec/core/vectors/types';
import { silentLogger } from '../support/stubDevice.ts';

const MODEL = new URL('./models/tiny-m3', import.meta.url).pathname;
const TEXTS = ['a short text', 'another one, somewhat longer than the first', 'BM25 and BGE-M3'];

test('MODEL_DTYPE=int8 rewrites a model once, beside it, and a text gets the same vector in any batch', async (t) => {
  const folder = join(await mkdtemp(join(tmpdir(), 'trivec-int8-')), 'tiny-m3');
  t.after(() => rm(join(folder, '..'), { recursive: true, force: true }));
  await cp(MODEL, folder, { recursive: true });
  const config = loadConfig({
    MODEL_DTYPE: 'int8',
    DEVICE: 'cpu',
    MAX_BATCH_TOKENS: '512',
    INTRA_OP_THREADS: '1',
  });
  const plain = await describeModel(folder, loadConfig({}), silentLogger);

  const model = await describeModel(folder, config, silentLogger);
  assert.equal(model.info.dtype, 'int8');
  assert.equal(model.info.batchDependent, undefined);
  assert.notEqual(model.info.fingerprint, plain.info.fingerprint);
  const again = await describeModel(folder, config, silentLogger);
  assert.equal(again.info.fingerprint, model.info.fingerprint);

  const exact = await createEngine({ model: plain, config, logger: silentLogger });
  t.after(() => exact.close());
  const engine = await createEngine({ model, config, logger: silentLogger });
  t.after(() => engine.close());
  const embed = async (from: typeof engine, texts: string[]): Promise<TextVectors[]> => {
    const { vectors } = await from.embed(await from.encode(texts), { outputs: ['dense'], lane: 'bulk' });
    return vectors.map((vector) => {
      assert.ok(!(vector instanceof TrivecError));
      return vector;
    });
  };
  const together = await embed(engine, TEXTS);
  const reference = await embed(exact, TEXTS);
  for (const [index, text] of TEXTS.entries()) {
    const [alone] = await embed(engine, [text]);
    assert.deepEqual(alone?.dense, together[index]?.dense);
    const cosine = alone!.dense!.reduce((sum, value, at) => sum + value * reference[index]!.dense![at]!, 0);
    assert.ok(cosine > 0.99, `cosine ${cosine} of ${index}`);
    assert.notDeepEqual(alone?.dense, reference[index]?.dense);
  }
});
