import assert from 'node:assert/strict';
import { once } from 'node:events';
import { getPriority } from 'node:os';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';

const skip = process.platform !== 'linux' && 'threads have priorities of their own on Linux only';

test('a thread steps back behind the others of its process', { skip }, async () => {
  const own = getPriority();
  const module = import.meta.resolve('@trivec/core/engine/threadPriority');
  const source = `
    const { lowerThreadPriority } = await import(${JSON.stringify(module)});
    lowerThreadPriority();
    (await import('node:worker_threads')).parentPort.postMessage((await import('node:os')).getPriority(0));`;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
  const [lowered] = await once(worker, 'message');
  await once(worker, 'exit');
  assert.equal(lowered, Math.min(19, own + 5));
  assert.equal(getPriority(), own, 'the main thread keeps its own');
});
