import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import type { DeviceBatch } from '@trivec/core/engine/device';
import { type InferenceOptions, InferenceSession } from '@trivec/core/engine/inferenceSession';
import { silentLogger, stubModel } from '../../support/stubDevice.ts';

const options: InferenceOptions = {
  device: 'cpu',
  intraOpThreads: 1,
  allowSpinning: false,
  logger: silentLogger,
};
const dying = { ...options, threadUrl: new URL('../../support/dyingThread.ts', import.meta.url) };
const model = { ...stubModel, heads: { dense: { output: 'dense' }, ignoredSparseIds: [] } };

function batch(...texts: number[][]): DeviceBatch {
  const wants = { dense: true, sparse: false, colbert: false, dimensions: 1, normalize: true };
  return { texts: texts.map((ids) => Int32Array.from(ids)), wants: texts.map(() => wants) };
}

test('a thread that dies loses what it ran, and the next run finds a new one', async () => {
  const session = await InferenceSession.open(model, dying);
  await assert.rejects(session.run(batch([1], [666])), { failure: 'died' });
  const { vectors } = await session.run(batch([1], [2, 3]));
  assert.deepEqual(vectors, [
    { tokens: 1, dense: Float32Array.of(1) },
    { tokens: 2, dense: Float32Array.of(2) },
  ]);
  await session.close();
  await assert.rejects(session.run(batch([1])), { failure: 'unavailable' });
});

test('a thread that dies again and again is not started for ever', async () => {
  const session = await InferenceSession.open(model, dying);
  const failures: string[] = [];
  for (let run = 0; run < 8; run++)
    await session.run(batch([666])).catch((error: { failure: string }) => failures.push(error.failure));
  assert.deepEqual(failures, [...Array(6).fill('died'), 'unavailable', 'unavailable']);
  await session.close();
});

test('a run waits while starting again fails, and is given up with the last start', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'trivec-starts-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const threadUrl = new URL('../../support/failingStarts.ts', import.meta.url);
  const graphFile = join(folder, 'starts.json');
  for (const heals of [true, false]) {
    writeFileSync(graphFile, JSON.stringify({ starts: 0, heals }));
    const session = await InferenceSession.open({ ...model, graphFile }, { ...options, threadUrl });
    const died = session.run(batch([666]));
    await assert.rejects(died, { failure: 'died' });
    const waiting = session.run(batch([1]));
    if (heals) assert.equal((await waiting).vectors[0]?.tokens, 1);
    else await assert.rejects(waiting, { failure: 'unavailable' });
    assert.equal(JSON.parse(readFileSync(graphFile, 'utf8')).starts, heals ? 4 : 6);
    await session.close();
  }
});

test('closing twice, also before anything ran, ends the thread', async () => {
  const session = await InferenceSession.open(model, dying);
  await Promise.all([session.close(), session.close()]);
});

test('a graph that no device takes is an error with the reason of each', async () => {
  const graphFile = fileURLToPath(new URL('../../golden/models/tiny-m3/config.json', import.meta.url));
  await assert.rejects(
    InferenceSession.open({ ...model, graphFile }, { ...options, device: 'auto' }),
    (error: { code: string; message: string }) => {
      assert.equal(error.code, 'device_unavailable');
      assert.match(error.message, /cuda:0: .+; cpu: .+/s);
      return true;
    },
  );
});

test('a device asked for by name is not replaced by another', async () => {
  const graphFile = fileURLToPath(new URL('../../golden/models/tiny-m3/model.onnx', import.meta.url));
  await assert.rejects(InferenceSession.open({ ...model, graphFile }, { ...options, device: 'tensorrt' }), {
    code: 'device_unavailable',
  });
});
