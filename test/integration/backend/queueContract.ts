import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import test from 'node:test';
import { TrivecError } from '@trivec/core/errors';
import { type QueueItem, type ShardPointer, shardQueueId } from '@trivec/core/queue/workQueue';
import type { TestBackends } from '../../support/backends.ts';
import { aborted, Gate, until } from '../../support/gate.ts';

function items(jobId: string, count: number): QueueItem<ShardPointer>[] {
  return Array.from({ length: count }, (_, ordinal) => ({
    id: shardQueueId({ jobId, ordinal }, 'embed'),
    data: { jobId, ordinal },
    fairOffset: ordinal,
  }));
}

const EMPTY = { waiting: 0, active: 0, delayed: 0 };

/** What every WorkQueue does; each test has a queue of its own. */
export function queueContract(backends: TestBackends): void {
  const freshQueue = async () => (await backends.backend()).shardQueue(randomUUID());

  test('a queue hands out each item once, in order, with its data', async () => {
    const queue = await freshQueue();
    await queue.add(items('a', 5));
    const seen: ShardPointer[] = [];
    const consumer = await queue.consume(async ({ data }) => void seen.push(data), { concurrency: 1 });
    await until(async () => seen.length === 5 && (await queue.counts()).active === 0, 'all five are done');
    await consumer.close();
    assert.deepEqual(
      seen,
      items('a', 5).map(({ data }) => data),
    );
    assert.deepEqual(await queue.counts(), EMPTY);
  });

  test('adding an id that waits or runs changes nothing; a finished one can be added again', async () => {
    const queue = await freshQueue();
    await queue.add(items('a', 2));
    await queue.add(items('a', 2));
    assert.deepEqual(await queue.counts(), { ...EMPTY, waiting: 2 });
    const gate = new Gate();
    let runs = 0;
    const consumer = await queue.consume(
      async () => {
        runs++;
        await gate.opened;
      },
      { concurrency: 2 },
    );
    await until(() => runs === 2, 'both run');
    await queue.add(items('a', 2));
    gate.open();
    await until(async () => (await queue.counts()).active === 0, 'both are done');
    assert.equal(runs, 2);
    await queue.add(items('a', 2));
    await until(() => runs === 4, 'both run again');
    await consumer.close();
  });

  test('present tells which ids wait, are delayed or run', async () => {
    const queue = await freshQueue();
    const [running, waiting] = items('a', 2);
    await queue.add([running!]);
    const gate = new Gate();
    const started = new Gate();
    const consumer = await queue.consume(
      async () => {
        started.open();
        await gate.opened;
      },
      { concurrency: 1 },
    );
    await started.opened;
    await queue.add([waiting!]);
    const asked = items('a', 3).map(({ id }) => id);
    assert.deepEqual(await queue.present(asked), new Set([running!.id, waiting!.id]));
    gate.open();
    await until(async () => (await queue.present(asked)).size === 0, 'the queue is empty');
    await consumer.close();
  });

  test('remove takes away what waits and aborts what runs, which is then gone', async () => {
    const queue = await freshQueue();
    const all = items('a', 50);
    await queue.add(all);
    const started = new Gate();
    let runs = 0;
    let reason: unknown;
    const consumer = await queue.consume(
      async (_, signal) => {
        runs++;
        started.open();
        reason = await aborted(signal);
        throw reason;
      },
      { concurrency: 1 },
    );
    await started.opened;
    await queue.remove(all.map(({ id }) => id));
    await until(async () => (await queue.present(all.map(({ id }) => id))).size === 0, 'nothing is left');
    assert.equal((reason as TrivecError).code, 'cancelled');
    assert.equal(runs, 1);
    await consumer.close();
    assert.deepEqual(await queue.counts(), EMPTY);
  });

  test('how many items are taken at once is asked again after each', async () => {
    const queue = await freshQueue();
    await queue.add(items('a', 6));
    let [atOnce, running, most, done] = [1, 0, 0, 0];
    const release = Promise.withResolvers<void>();
    const consumer = await queue.consume(
      async () => {
        most = Math.max(most, ++running);
        if (done === 0) assert.equal(running, 1);
        else await release.promise;
        running--;
        done++;
        atOnce = 3;
      },
      { concurrency: () => atOnce },
    );
    await until(async () => running === 3, 'three at once');
    release.resolve();
    await until(async () => done === 6, 'all six');
    assert.equal(most, 3);
    await consumer.close();
  });

  test('a retryable error brings the item back; any other ends it', async () => {
    const queue = await freshQueue();
    await queue.add(items('a', 2));
    const attempts = [0, 0];
    const consumer = await queue.consume(
      async ({ data }) => {
        attempts[data.ordinal]!++;
        if (data.ordinal === 1) throw new Error('broken');
        if (attempts[0]! < 3) throw new TrivecError('storage_unavailable', 'not now');
      },
      { concurrency: 2 },
    );
    await until(async () => attempts[0] === 3 && (await queue.counts()).active === 0, 'the third try');
    assert.deepEqual(attempts, [3, 1]);
    assert.deepEqual(await queue.counts(), EMPTY);
    await consumer.close();
  });

  test('close aborts the handlers, waits for them, and gives back what they did not finish', async () => {
    const queue = await freshQueue();
    await queue.add(items('a', 4));
    const running = new Set<number>();
    let returned = 0;
    const consumer = await queue.consume(
      async ({ data }, signal) => {
        running.add(data.ordinal);
        const reason = await aborted(signal);
        assert.equal((reason as TrivecError).code, 'shutting_down');
        await new Promise((resolve) => setTimeout(resolve, 30));
        returned++;
        // the first one could still finish
        if (data.ordinal !== 0) throw reason;
      },
      { concurrency: 2 },
    );
    await until(() => running.size === 2, 'two run');
    await Promise.all([consumer.close(), consumer.close()]);
    assert.equal(returned, 2);
    assert.deepEqual(running, new Set([0, 1]));
    assert.deepEqual(await queue.counts(), { ...EMPTY, waiting: 3 });
    const seen: number[] = [];
    const second = await queue.consume(async ({ data }) => void seen.push(data.ordinal), { concurrency: 1 });
    await until(() => seen.length === 3, 'another consumer gets the rest');
    await second.close();
    assert.deepEqual(seen, [1, 2, 3]);
  });

  test('a small job behind a large one interleaves with it', async () => {
    const queue = await freshQueue();
    await queue.add(items('large', 60));
    const order: string[] = [];
    const stopAt = { count: 20, gate: new Gate(), resume: new Gate() };
    const consumer = await queue.consume(
      async ({ data }) => {
        order.push(data.jobId);
        if (order.length === stopAt.count) {
          stopAt.gate.open();
          await stopAt.resume.opened;
        }
      },
      { concurrency: 1 },
    );
    await stopAt.gate.opened;
    await queue.add(items('small', 5));
    stopAt.resume.open();
    await until(() => order.length === 65, 'all are done');
    await consumer.close();
    const lastSmall = order.lastIndexOf('small');
    // alternating from the 21st on: the fifth small one is among the next ten, give or take one
    assert.ok(lastSmall >= 20 + 5 - 1 && lastSmall <= 20 + 10 + 1, `the small job ended at ${lastSmall}`);
  });

  test('a weight lets a job take a larger share', async () => {
    const queue = await freshQueue();
    const weighted = (jobId: string, weight: number) =>
      items(jobId, 30).map((item) => ({ ...item, fairOffset: item.data.ordinal / weight }));
    await queue.add(weighted('light', 1));
    await queue.add(weighted('heavy', 3));
    const order: string[] = [];
    const consumer = await queue.consume(async ({ data }) => void order.push(data.jobId), { concurrency: 1 });
    await until(() => order.length === 60, 'all are done');
    await consumer.close();
    const heavyOfFirst32 = order.slice(0, 32).filter((jobId) => jobId === 'heavy').length;
    assert.ok(heavyOfFirst32 >= 22 && heavyOfFirst32 <= 26, `heavy had ${heavyOfFirst32} of the first 32`);
  });

  test('queues of two fingerprints do not mix, and one fingerprint has one queue', async () => {
    const backend = await backends.backend();
    const [first, second] = [randomUUID(), randomUUID()];
    assert.equal(backend.shardQueue(first), backend.shardQueue(first));
    await backend.shardQueue(first).add(items('a', 3));
    assert.deepEqual(await backend.shardQueue(second).counts(), EMPTY);
    assert.equal((await backend.shardQueue(first).counts()).waiting, 3);
  });
}
