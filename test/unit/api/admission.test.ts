import assert from 'node:assert/strict';
import test from 'node:test';
import { Admission, OverloadedError } from '@trivec/api/admission';
import { cut } from '@trivec/api/engineCalls';
import { FairQueue } from '@trivec/api/fairQueue';
import { RateEstimate } from '@trivec/api/rateEstimate';
import fc from 'fast-check';

const never = new AbortController().signal;
const turn = (client: string, cost = 10, more: object = {}) => ({
  client,
  cost,
  deadlineAtMs: Date.now() + 60_000,
  signal: never,
  ...more,
});

test('clients that always want more get the same cost, however many requests it takes', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 2, maxLength: 5 }), (costs) => {
      const queue = new FairQueue<number>();
      const served = costs.map(() => 0);
      for (const [client, cost] of costs.entries())
        for (let i = 0; i < 2 + 2000 / cost; i++) queue.push(`c${client}`, cost, client);
      for (let total = 0; total < 1000; ) {
        const item = queue.shift();
        assert.ok(item);
        served[item.value] = (served[item.value] ?? 0) + item.cost;
        total += item.cost;
      }
      // No two are further apart than one item of each (Goyal et al., theorem 1).
      for (const a of served.keys())
        for (const b of served.keys())
          assert.ok(
            Math.abs((served[a] ?? 0) - (served[b] ?? 0)) <= (costs[a] ?? 0) + (costs[b] ?? 0),
            `${served} of ${costs}`,
          );
    }),
  );
});

test('a queue keeps the order of each client, and forgets who has left', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 1, max: 9 }), fc.boolean()), {
        maxLength: 60,
      }),
      (steps) => {
        const queue = new FairQueue<number>();
        const waiting: ReturnType<typeof queue.push>[] = [];
        for (const [step, [client, cost, takes]] of steps.entries()) {
          if (takes) {
            const item = queue.shift();
            if (item === undefined) assert.equal(waiting.length, 0);
            else {
              const first = waiting.find((one) => one.client === item.client);
              assert.equal(item, first);
              waiting.splice(waiting.indexOf(item), 1);
            }
          } else waiting.push(queue.push(`c${client}`, cost, step));
          assert.equal(queue.size, waiting.length);
        }
        for (const item of waiting) assert.ok(queue.remove(item));
        assert.equal(queue.size, 0);
        assert.equal(queue.waitingClients, 0);
        assert.equal(queue.shift(), undefined);
      },
    ),
  );
});

test('parts hold everything once, in order, within their cost', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 30 })), (items) => {
      const parts = cut(items, (item) => item, 20);
      assert.deepEqual(
        parts.flatMap((part) => part.items),
        items,
      );
      for (const part of parts) {
        assert.equal(items[part.offset], part.items[0]);
        assert.ok(part.cost <= 20 || part.items.length === 1);
      }
    }),
  );
});

test('only what the devices can soon run is handed over, the rest by turns', async () => {
  const admission = new Admission({ maxConcurrentTasks: 2, maxQueuedTasks: 100, batchTokens: () => 1000 });
  const order: string[] = [];
  const gates: (() => void)[] = [];
  const run = (client: string) =>
    admission.run('f', turn(client), () => {
      order.push(client);
      return new Promise<void>((resolve) => gates.push(resolve));
    });
  const all = [run('greedy'), run('greedy'), run('greedy'), run('greedy'), run('greedy'), run('modest')];
  await Promise.resolve();
  assert.deepEqual(order, ['greedy', 'greedy']);
  assert.equal(admission.waiting('f'), 4);
  for (let done = 0; done < all.length; done++) {
    gates.shift()?.();
    await new Promise(setImmediate);
  }
  await Promise.all(all);
  assert.ok(order.indexOf('modest') <= 3, order.join());
  assert.deepEqual(admission.load('f').queueDepth, 0);
});

test('tokens ahead are bounded by two batches, and one task always runs', async () => {
  const admission = new Admission({ maxConcurrentTasks: 64, maxQueuedTasks: 100, batchTokens: () => 100 });
  let running = 0;
  const gate = Promise.withResolvers<void>();
  const all = Array.from({ length: 6 }, (_, i) =>
    admission.run('f', turn('a', i === 0 ? 120 : 40), () => {
      running++;
      return gate.promise;
    }),
  );
  await new Promise(setImmediate);
  assert.equal(running, 3);
  gate.resolve();
  await Promise.all(all);
  assert.equal(running, 6);
});

test('a full queue refuses who has more than a share, and lets a newcomer in', async () => {
  const admission = new Admission({ maxConcurrentTasks: 1, maxQueuedTasks: 4, batchTokens: () => 1000 });
  const gate = Promise.withResolvers<void>();
  const run = (client: string) => {
    admission.admit('f', turn(client));
    return admission.run('f', turn(client), () => gate.promise);
  };
  const all = Array.from({ length: 5 }, () => run('greedy'));
  assert.throws(
    () => run('greedy'),
    (error) =>
      error instanceof OverloadedError &&
      error.code === 'overloaded' &&
      error.load.queueDepth === 5 &&
      /share of MAX_QUEUED_TASKS is 4/.test(error.message),
  );
  all.push(run('modest'), run('modest'));
  assert.throws(() => run('modest'), /share of MAX_QUEUED_TASKS is 2/);
  gate.resolve();
  await Promise.all(all);
});

test('who would wait longer than they may is told so at once', async () => {
  const admission = new Admission({ maxConcurrentTasks: 1, maxQueuedTasks: 100, batchTokens: () => 1 });
  await admission.run('f', turn('a', 100), () => new Promise((resolve) => setTimeout(resolve, 20)));
  const gate = Promise.withResolvers<void>();
  const all = [1, 2].map(() => admission.run('f', turn('a', 100_000), () => gate.promise));
  const { estimatedWaitMs } = admission.load('f', 'b', 100_000);
  assert.ok(estimatedWaitMs > 1000, `${estimatedWaitMs}`);
  assert.throws(
    () => admission.admit('f', turn('b', 100_000, { deadlineAtMs: Date.now() + 100 })),
    /too near the end of the time/,
  );
  admission.admit('f', turn('b', 100_000, { deadlineAtMs: Date.now() + 1e9 }));
  gate.resolve();
  await Promise.all(all);
});

test('what waits leaves when its client leaves or its time is over', async () => {
  const admission = new Admission({ maxConcurrentTasks: 1, maxQueuedTasks: 9, batchTokens: () => 1 });
  const gate = Promise.withResolvers<void>();
  const first = admission.run('f', turn('a'), () => gate.promise);
  const controller = new AbortController();
  const neverRuns = () => Promise.reject(new Error('it ran'));
  const left = admission.run('f', turn('a', 1, { signal: controller.signal }), neverRuns);
  const late = admission.run('f', turn('a', 1, { deadlineAtMs: Date.now() + 10 }), neverRuns);
  controller.abort();
  await assert.rejects(left, { code: 'cancelled' });
  await assert.rejects(late, { code: 'deadline_exceeded' });
  assert.equal(admission.waiting('f'), 0);
  gate.resolve();
  await first;
  await assert.rejects(admission.run('f', turn('a', 1, { signal: controller.signal }), neverRuns), {
    code: 'cancelled',
  });
});

test('the rate is cost over busy time, and idle time does not count', () => {
  let now = 0;
  const rate = new RateEstimate(() => now);
  assert.equal(rate.costPerMs(), 0);
  rate.started();
  now += 10;
  rate.ended(100);
  assert.equal(rate.costPerMs(), 10);
  now += 100_000;
  rate.started();
  now += 10;
  rate.ended(100);
  assert.ok(Math.abs(rate.costPerMs() - 10) < 1e-9);
});

test('many addresses with one request each do not make the queue longer than twice its size', async () => {
  const admission = new Admission({ maxConcurrentTasks: 1, maxQueuedTasks: 3, batchTokens: () => 1 });
  const leave = new AbortController();
  const waiting: Promise<unknown>[] = [];
  let refusal: unknown;
  for (let address = 0; address < 20; address++) {
    const turnOf = turn(`address:${address}`, 10, { signal: leave.signal });
    try {
      admission.admit('model', turnOf);
    } catch (error) {
      refusal = error;
      break;
    }
    waiting.push(admission.run('model', turnOf, () => new Promise<void>(() => {})));
  }
  assert.ok(refusal instanceof OverloadedError);
  assert.match(refusal.message, /6 requests of 6 clients wait, and MAX_QUEUED_TASKS is 3/);
  assert.equal(waiting.length, 7);
  leave.abort();
  await Promise.allSettled(waiting.slice(1));
  assert.equal(admission.waiting('model'), 0);
});
