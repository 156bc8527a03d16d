import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import test from 'node:test';
import { startSinkWriter } from '@trivec/core/jobs/sinkWriter';

test('a task that cannot be sent to the thread is refused, and nothing of it is kept', async (t) => {
  const writer = startSinkWriter({ name: '', url: 'http://127.0.0.1:1' } as never);
  t.after(() => writer.close());
  const { signal } = new AbortController();
  const task = { results: () => {} };
  await assert.rejects(writer.write(task as never, { signal } as never), { name: 'DataCloneError' });
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});
