import assert from 'node:assert/strict';
import test from 'node:test';
import { startOn } from '@trivec/core/engine/engine';
import { embedDocuments } from '@trivec/core/jobs/embedDocuments';
import type { JobOptions } from '@trivec/core/jobs/records';
import { StubDevice, silentLogger, stubModel, stubTokenizer } from '../../support/stubDevice.ts';

test('MAX_BULK_TEXT_TOKENS cuts a text and says so; chunks become shorter, and lose nothing', async (t) => {
  const engine = await startOn(new StubDevice(), stubTokenizer, {
    model: stubModel,
    config: {
      device: 'cpu',
      intraOpThreads: 1,
      intraOpSpinning: false,
      maxBatchTokens: 64,
      maxBulkBatchMs: 500,
      maxBulkTextTokens: 8,
    },
    logger: silentLogger,
  });
  t.after(() => engine.close());
  const text = 'one two three four five six seven eight nine ten';
  const embed = (options: Partial<JobOptions>) =>
    embedDocuments(
      engine,
      [{ id: 'a', text }],
      { outputs: ['dense'], normalize: true, truncate: true, ...options },
      { signal: new AbortController().signal, beforeBatch: async () => {}, inFlight: async () => {} },
    );
  const whole = await embed({});
  assert.deepEqual([whole.tokens, whole.truncated, whole.embedded], [8, 1, 1]);
  const refused = await embed({ truncate: false });
  assert.match(refused.errors[0]!.message, /12 tokens; at most 8 .*MAX_BULK_TEXT_TOKENS/);
  const chunked = await embed({ chunking: { unit: 'token', maxTokens: 100, overlap: 0 } });
  assert.equal(chunked.truncated, 0);
  assert.equal(chunked.rows.map(({ start, end }) => text.slice(start, end)).join(''), text);
  assert.ok(chunked.rows.every(({ vectors }) => vectors.tokens <= 8));
});
