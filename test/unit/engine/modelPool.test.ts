import assert from 'node:assert/strict';
import test from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ModelPool } from '@trivec/core/engine/modelPool';
import type { ModelDescription } from '@trivec/core/models/folder';
import { FakeEngine } from '../../support/fakeEngine.ts';
import { stubModel } from '../../support/stubDevice.ts';

const model = (name: string, bytes = 10): ModelDescription => ({
  ...stubModel,
  bytes,
  info: { ...stubModel.info, name },
});

function startPool(maxBytes: number, failing = new Set<string>(), patienceMs?: number) {
  const opened: string[] = [];
  const closed: string[] = [];
  const open = async ({ info }: ModelDescription) => {
    opened.push(info.name);
    if (failing.has(info.name)) throw new Error('broken');
    const engine = new FakeEngine({ name: info.name });
    engine.close = async () => {
      closed.push(info.name);
    };
    return engine;
  };
  const pool = new ModelPool(maxBytes, open, patienceMs === undefined ? {} : { patienceMs });
  const use = (name: string, bytes?: number) =>
    pool.use(model(name, bytes), 'cpu', async (engine) => engine.model.name);
  return { pool, opened, closed, use };
}

test('a model is loaded once, and again only after it made room; the one unused longest goes first', async () => {
  const { opened, closed, use } = startPool(20);
  for (const name of ['a', 'b', 'a', 'c', 'a']) assert.equal(await use(name), name);
  assert.deepEqual([opened, closed], [['a', 'b', 'c'], ['b']]);
  await use('b');
  assert.deepEqual(closed, ['b', 'c']);
});

test('uses that come together share one loading', async () => {
  const { opened, use } = startPool(20);
  await Promise.all(['a', 'b', 'a', 'a', 'b'].map((name) => use(name)));
  assert.deepEqual(opened, ['a', 'b']);
});

test('a model in use makes no room: the other waits until it is free', async () => {
  const { pool, opened, closed, use } = startPool(10);
  const gate = Promise.withResolvers<void>();
  const first = pool.use(model('a'), 'cpu', () => gate.promise);
  const second = use('b');
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual([opened, closed], [['a'], []]);
  gate.resolve();
  await first;
  assert.equal(await second, 'b');
  assert.deepEqual(closed, ['a']);
});

test('a model that is never out of use does not keep another one out for ever', async () => {
  const { pool, opened, use } = startPool(10, new Set(), 0);
  let ended = false;
  // Each use begins before the one before it ends, as the shards of a job do.
  const busy = async (): Promise<void> => {
    let next: Promise<void> | undefined;
    await pool.use(model('a'), 'cpu', async () => {
      await nextTurn();
      if (!ended) next = busy();
      await nextTurn();
    });
    await next;
  };
  const job = busy();
  await nextTurn();
  assert.equal(await use('b'), 'b');
  ended = true;
  await job;
  assert.deepEqual(opened, ['a', 'b', 'a']);
});

test('a model larger than the bound runs alone', async () => {
  const { pool, use } = startPool(10);
  await use('a');
  assert.equal(await use('huge', 1000), 'huge');
  assert.deepEqual(pool.loaded, ['huge on cpu']);
});

test('one that cannot be loaded says so, takes no other down, and is tried again', async () => {
  const failing = new Set(['a']);
  const { use } = startPool(20, failing);
  await assert.rejects(use('a'), { code: 'model_unavailable', message: /a cannot be loaded: broken/ });
  assert.equal(await use('b'), 'b');
  failing.clear();
  assert.equal(await use('a'), 'a');
});

test('closing closes what is loaded and refuses what comes, also what waits for room', async () => {
  const { pool, closed, use } = startPool(10);
  const gate = Promise.withResolvers<void>();
  const first = pool.use(model('a'), 'cpu', () => gate.promise);
  const waiting = use('b');
  await new Promise((resolve) => setTimeout(resolve, 5));
  await pool.close();
  await assert.rejects(waiting, { code: 'shutting_down' });
  await assert.rejects(use('a'), { code: 'shutting_down' });
  gate.resolve();
  await first;
  assert.deepEqual(closed, ['a']);
});
