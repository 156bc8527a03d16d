import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { InferenceSession } from '@trivec/core/engine/inferenceSession';
import { describeModelFolder } from '@trivec/core/models/folder';
import { silentLogger } from '../../support/stubDevice.ts';

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

test('the threads of a forward pass on a CPU are like the one that started them, the others as they were', {
  skip,
}, async (t) => {
  const own = getPriority();
  const before = prioritiesOfThreads();
  const folder = fileURLToPath(new URL('../../golden/models/tiny-bert-mean', import.meta.url));
  const session = await InferenceSession.open(await describeModelFolder(folder), {
    device: 'cpu',
    intraOpThreads: 3,
    allowSpinning: false,
    logger: silentLogger,
  });
  t.after(() => session.close());
  const added = prioritiesOfThreads();
  for (const [thread, priority] of before) assert.equal(added.get(thread) ?? priority, priority);
  const lowered = [...added].filter(
    ([thread, priority]) => !before.has(thread) && priority === Math.min(19, own + 5),
  );
  assert.ok(lowered.length >= 3, `${lowered.length}, of which one is ours and two are onnxruntime's`);
});

/** By the number of the thread. */
function prioritiesOfThreads(): Map<string, number> {
  const tasks = '/proc/self/task';
  return new Map(
    readdirSync(tasks).map((thread) => {
      const stat = readFileSync(`${tasks}/${thread}/stat`, 'utf8');
      // The name before the last parenthesis may hold spaces; the 19th field is the 17th behind it.
      return [thread, Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16])];
    }),
  );
}
