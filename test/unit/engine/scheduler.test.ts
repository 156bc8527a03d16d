import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EncodedText } from '@trivec/core/engine/types';
import { TrivecError } from '@trivec/core/errors';
import type { TextVectors } from '@trivec/core/vectors/types';
import fc from 'fast-check';
import { startStubEngine } from '../../support/stubDevice.ts';

const POISON = 666;
const ALL = ['dense', 'sparse', 'colbert'] as const;

function text(tokens: number, id = 10): EncodedText {
  const ids = new Int32Array(tokens).fill(id);
  return { ids, originalTokens: tokens };
}

function codes(vectors: readonly (TextVectors | TrivecError)[]): string[] {
  return vectors.map((outcome) => (outcome instanceof TrivecError ? outcome.code : 'ok'));
}

test('the order of the result is the order of the texts, whatever was packed together', async () => {
  const { engine } = await startStubEngine({ maxBatchTokens: 64 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.integer({ min: 4, max: 900 }), { minLength: 1, maxLength: 80 }), {
        maxLength: 30,
      }),
      async (lists) => {
        const texts = lists.map((ids) => ({ ids: Int32Array.from(ids), originalTokens: ids.length }));
        const together = await engine.embed(texts, { outputs: ALL, lane: 'bulk' });
        const alone = await Promise.all(
          texts.map((one) => engine.embed([one], { outputs: ALL, lane: 'interactive' })),
        );
        assert.deepEqual(
          together.vectors,
          alone.flatMap(({ vectors }) => vectors),
        );
      },
    ),
    { numRuns: 30 },
  );
  await engine.close();
});

test('calls made together run together, each for its own outputs', async () => {
  const { engine, device } = await startStubEngine();
  const [dense, sparse] = await Promise.all([
    engine.embed([text(5)], { outputs: ['dense'], dimensions: 3, lane: 'interactive' }),
    engine.embed([text(6)], { outputs: ['sparse'], lane: 'interactive' }),
  ]);
  assert.equal(device.batches.length, 1);
  assert.deepEqual(Object.keys(dense.vectors[0]!), ['tokens', 'dense']);
  assert.equal((dense.vectors[0] as TextVectors).dense?.length, 3);
  assert.deepEqual(Object.keys(sparse.vectors[0]!), ['tokens', 'sparse']);
  await engine.close();
});

test('interactive texts overtake bulk as soon as the running batch ends', async () => {
  const { engine, device } = await startStubEngine({ maxBatchTokens: 20, msPerToken: 1 });
  const bulk = engine.embed(
    Array.from({ length: 10 }, () => text(10, 10)),
    { outputs: ['dense'], lane: 'bulk' },
  );
  await sleep(10);
  await engine.embed([text(3, 99)], { outputs: ['dense'], lane: 'interactive' });
  assert.deepEqual(
    device.batches.slice(0, 2).map(([first]) => first![0]),
    [10, 99],
  );
  await bulk;
  await engine.close();
});

test('bulk gets its share under a stream of interactive texts', async () => {
  const { engine, device } = await startStubEngine({ maxBatchTokens: 16, msPerToken: 0.1 });
  let done = false;
  const bulk = engine
    .embed(
      Array.from({ length: 8 }, () => text(8, 10)),
      { outputs: ['dense'], lane: 'bulk' },
    )
    .then(() => {
      done = true;
    });
  const client = async (): Promise<void> => {
    while (!done) await engine.embed([text(16, 99)], { outputs: ['dense'], lane: 'interactive' });
  };
  await Promise.all([bulk, client(), client()]);
  assert.ok(device.batches.filter(([first]) => first![0] === 99).length > 4, 'interactive ran in between');
  await engine.close();
});

test('a batch that fails is halved until the text at fault stands alone', async () => {
  const { engine, device } = await startStubEngine({
    failure: (texts) => (texts.some((ids) => ids.includes(POISON)) ? 'failed' : undefined),
  });
  const texts = Array.from({ length: 20 }, (_, i) => text(4, i === 13 ? POISON : 50 + i));
  const { vectors } = await engine.embed(texts, { outputs: ['dense'], lane: 'bulk' });
  assert.deepEqual(
    codes(vectors),
    texts.map((_, i) => (i === 13 ? 'model_failed' : 'ok')),
  );
  assert.ok(device.batches.length <= 11);
  await engine.close();
});

test('out of memory halves the batch and lowers the budget; a single text that does not fit fails', async () => {
  const { engine } = await startStubEngine({
    maxBatchTokens: 64,
    failure: (texts) =>
      texts.length * Math.max(...texts.map((ids) => ids.length)) > 20 ? 'out_of_memory' : undefined,
  });
  const { vectors } = await engine.embed([...Array.from({ length: 6 }, () => text(10)), text(30)], {
    outputs: ['dense'],
    lane: 'bulk',
  });
  assert.deepEqual(codes(vectors), ['ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'model_failed']);
  assert.ok(engine.maxBatchTokens < 64);
  await engine.close();
});

test('a death costs the text that dies alone, and none of its neighbours', async () => {
  const { engine, device } = await startStubEngine({
    failure: (texts) => (texts.some((ids) => ids.includes(POISON)) ? 'died' : undefined),
  });
  for (const count of [16, 40]) {
    device.batches.length = 0;
    const texts = Array.from({ length: count }, (_, i) => text(4, i === 9 ? POISON : 50 + i));
    const { vectors } = await engine.embed(texts, { outputs: ['dense'], lane: 'bulk' });
    assert.deepEqual(
      codes(vectors),
      texts.map((_, i) => (i === 9 ? 'model_failed' : 'ok')),
    );
    const deaths = device.batches.filter((batch) => batch.some((ids) => ids.includes(POISON)));
    assert.ok(deaths.length <= 3, `${deaths.length} deaths`);
  }
  await engine.close();
});

test('a text that died alone is not convicted by a device that dies of everything', async () => {
  let deaths = 0;
  const { engine } = await startStubEngine({ failure: () => (++deaths > 5 ? 'unavailable' : 'died') });
  await assert.rejects(engine.embed([text(4), text(5)], { outputs: ['dense'], lane: 'bulk' }), {
    code: 'model_unavailable',
  });
  await engine.close();

  // The text, what the device is asked with, and both once more.
  let runs = 0;
  const other = await startStubEngine({ failure: () => (++runs <= 4 ? 'died' : undefined) });
  const { vectors } = await other.engine.embed([text(4)], { outputs: ['dense'], lane: 'interactive' });
  assert.deepEqual(codes(vectors), ['ok']);
  await other.engine.close();
});

test('the next bulk batch is announced while the one before runs; interactive texts overtake it all the same', async () => {
  const { engine, device } = await startStubEngine({ maxBatchTokens: 8, msPerToken: 5 });
  const ran = () => device.batches.map(([first]) => first![0]);
  const announced: { texts: readonly number[]; batches: number; running: boolean }[] = [];
  const bulk = engine.embed([text(8, 10), text(7, 11), text(6, 12)], {
    outputs: ['dense'],
    lane: 'bulk',
    onBatch: async (texts) => {
      announced.push({ texts, batches: device.batches.length, running: device.running });
    },
  });
  while (announced.length < 2) await sleep(1);
  await engine.embed([text(3, 99)], { outputs: ['dense'], lane: 'interactive' });
  await bulk;
  assert.deepEqual(announced, [
    { texts: [0], batches: 0, running: false },
    // With those that are in flight still: a note that names the next alone would clear them.
    { texts: [0, 1], batches: 1, running: true },
    { texts: [1, 2], batches: 3, running: true },
  ]);
  assert.deepEqual(ran(), [10, 99, 11, 12]);
  await engine.close();
});

test('a ledger that does not answer keeps no interactive text waiting', async () => {
  const { engine } = await startStubEngine({ maxBatchTokens: 8 });
  const ledger = Promise.withResolvers<void>();
  const bulk = engine.embed([text(8, 10)], {
    outputs: ['dense'],
    lane: 'bulk',
    onBatch: () => ledger.promise,
  });
  for (let i = 0; i < 3; i++) await engine.embed([text(3, 99)], { outputs: ['dense'], lane: 'interactive' });
  ledger.resolve();
  assert.deepEqual(codes((await bulk).vectors), ['ok']);
  await engine.close();
});

test('a prepared batch whose caller leaves is not run, and one that is not full is filled up', async () => {
  const { engine, device } = await startStubEngine({ maxBatchTokens: 20, msPerToken: 2 });
  const options = { outputs: ['dense'], lane: 'bulk' } as const;
  const first = engine.embed([text(20, 10)], options);
  while (!device.running) await sleep(1);
  const leaver = new AbortController();
  const left = engine.embed([text(9, 70)], { ...options, signal: leaver.signal });
  const second = engine.embed([text(5, 11)], options);
  await sleep(5);
  leaver.abort();
  const third = engine.embed([text(5, 12)], options);
  await assert.rejects(left, { code: 'cancelled' });
  await Promise.all([first, second, third]);
  assert.deepEqual(
    device.batches.map((texts) => texts.map((ids) => ids[0])),
    [[10], [11, 12]],
  );
  await engine.close();
});

test('the next batch is given when the pass is over, before the vectors are there', async () => {
  const { engine, device } = await startStubEngine({ maxBatchTokens: 8, finishMs: 5 });
  const { vectors } = await engine.embed([text(8, 10), text(7, 11), text(6, 12)], {
    outputs: ['dense'],
    lane: 'bulk',
  });
  assert.deepEqual(codes(vectors), ['ok', 'ok', 'ok']);
  assert.ok(device.finishedBehind > 0);
  await engine.close();
});

test('a device that is gone fails every call with model_unavailable, and says so once', async () => {
  let told = 0;
  const { engine } = await startStubEngine({
    maxBatchTokens: 8,
    failure: (texts) => (texts.some((ids) => ids.includes(POISON)) ? 'unavailable' : undefined),
    onUnavailable: () => {
      told++;
    },
  });
  const options = { outputs: ['dense'], lane: 'bulk' } as const;
  const calls = [
    engine.embed([text(8, POISON)], options),
    engine.embed([text(8)], { ...options, lane: 'bulk' }),
  ];
  for (const call of await Promise.allSettled(calls))
    assert.equal(call.status === 'rejected' && call.reason.code, 'model_unavailable');
  await assert.rejects(engine.embed([text(3)], options), { code: 'model_unavailable' });
  assert.equal(told, 1);
  await engine.close();
});

test('texts of a caller that left, or whose deadline passed, are never run', async () => {
  const { engine, device } = await startStubEngine({ maxBatchTokens: 10, msPerToken: 2 });
  const options = { outputs: ['dense'], lane: 'bulk' } as const;
  const first = engine.embed([text(10)], options);
  await sleep(5);
  const leaver = new AbortController();
  const left = engine.embed([text(9, 70)], { ...options, signal: leaver.signal });
  const late = engine.embed([text(9, 71)], { ...options, deadlineAtMs: Date.now() });
  const gone = engine.embed([text(9, 72)], { ...options, signal: AbortSignal.abort() });
  leaver.abort();
  await assert.rejects(left, { code: 'cancelled' });
  await assert.rejects(gone, { code: 'cancelled' });
  await assert.rejects(late, { code: 'deadline_exceeded' });
  await first;
  assert.equal(device.batches.length, 1);
  await engine.close();
});

test('onBatch names the texts that are about to run, and holds the pass back until it resolves', async () => {
  const { engine, device } = await startStubEngine({ maxBatchTokens: 20 });
  const announced: number[] = [];
  await engine.embed([text(3), text(10), text(9), text(2)], {
    outputs: ['dense'],
    lane: 'bulk',
    onBatch: async (indexes) => {
      const before = device.batches.length;
      await sleep(5);
      assert.equal(device.batches.length, before);
      announced.push(...indexes);
    },
  });
  assert.deepEqual([...new Set(announced)], [1, 2, 0, 3]);
  await assert.rejects(
    engine.embed([text(3)], {
      outputs: ['dense'],
      lane: 'bulk',
      onBatch: () => Promise.reject(new Error('ledger')),
    }),
    /ledger/,
  );
  assert.equal((await engine.embed([text(3)], { outputs: ['dense'], lane: 'bulk' })).vectors.length, 1);
  await engine.close();
});

test('close lets the running batch end and refuses the rest', async () => {
  const { engine, device } = await startStubEngine({ maxBatchTokens: 10, msPerToken: 1 });
  const options = { outputs: ['dense'], lane: 'bulk' } as const;
  const running = engine.embed([text(10)], options);
  const waiting = engine.embed([text(9)], options);
  await sleep(5);
  const closing = Promise.all([engine.close(), engine.close()]);
  await assert.rejects(waiting, { code: 'shutting_down' });
  assert.equal((await running).vectors.length, 1);
  await closing;
  assert.ok(device.closed);
  await assert.rejects(engine.embed([text(3)], options), { code: 'shutting_down' });
});

test('what cannot be embedded is refused by name', async () => {
  const { engine } = await startStubEngine();
  const embed = (texts: EncodedText[], extra: object) =>
    engine.embed(texts, { outputs: ['dense'], lane: 'bulk', ...extra });
  await assert.rejects(embed([text(3)], { outputs: ['dense', 'colour'] }), {
    code: 'unknown_output',
    param: 'outputs',
  });
  for (const dimensions of [0, 9, 1.5])
    await assert.rejects(embed([text(3)], { dimensions }), { code: 'invalid_request', param: 'dimensions' });
  const { vectors } = await embed([text(513), text(0), text(3)], {});
  assert.deepEqual(codes(vectors), ['text_too_long', 'model_failed', 'ok']);
  assert.deepEqual(await embed([], {}), { vectors: [], inferMs: 0 });
  await engine.close();
});
