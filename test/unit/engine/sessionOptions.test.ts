import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { sessionOptions } from '@trivec/core/engine/sessionOptions';
import { inspectModelFile } from '@trivec/core/onnx/inspect';
import { InferenceSession } from 'onnxruntime-node';
import { writeEncoder } from '../../../bench/models/encoder.ts';

const CPU = { provider: { device: 'cpu', name: 'cpu' }, intraOpThreads: 1, spinWhenIdle: false };
const SIZE = { layers: 1, hidden: 32, heads: 2, feedForward: 64, vocabulary: 64, positions: 66 };

test('on a CPU onnxruntime keeps normalisations and GELUs apart from the additions before them', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'session-'));
  t.after(() => rm(folder, { recursive: true }));
  const source = join(folder, 'model.onnx');
  await writeEncoder(source, SIZE);
  const fusedOperators = async (options: InferenceSession.SessionOptions) => {
    const optimizedModelFilePath = join(folder, 'optimized.onnx');
    const session = await InferenceSession.create(source, {
      ...options,
      logSeverityLevel: 4,
      optimizedModelFilePath,
    });
    await session.release();
    const { operators } = await inspectModelFile(optimizedModelFilePath);
    return ['SkipLayerNormalization', 'BiasGelu'].map((name) => operators[`com.microsoft.${name}`] ?? 0);
  };
  assert.deepEqual(await fusedOperators({}), [3, 1]);
  assert.deepEqual(await fusedOperators(sessionOptions(CPU)), [0, 0]);
});

test('a GPU gets all of them, and its number', () => {
  const { executionProviders, extra } = sessionOptions({
    ...CPU,
    provider: { device: 'cuda:1', name: 'cuda', deviceId: 1 },
  });
  assert.deepEqual(executionProviders, [{ name: 'cuda', deviceId: 1 }]);
  assert.equal(extra?.optimization, undefined);
});

test('threads spin for a moment after a run, and on only where that is asked for', () => {
  const spinning = (spinWhenIdle: boolean) => {
    const session = sessionOptions({ ...CPU, spinWhenIdle }).extra?.session as Record<string, unknown>;
    return session.intra_op;
  };
  assert.deepEqual(spinning(false), { allow_spinning: '1', spin_duration_us: '100' });
  assert.deepEqual(spinning(true), { allow_spinning: '1' });
});
