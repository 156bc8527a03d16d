import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Backend } from '@trivec/core/backend/backend';
import { openBackend } from '@trivec/core/backend/open';
import { loadConfig } from '@trivec/core/config';
import { TrivecError } from '@trivec/core/errors';
import { Presence } from '@trivec/core/registry/presence';
import { packOffer, packTask, unpackOffer } from '@trivec/core/replies/wire';
import { Redis } from 'ioredis';
import { silentLogger } from '../../support/backends.ts';
import { until } from '../../support/gate.ts';
import { findRedisServer, startRedis, type TestRedis } from '../../support/redis.ts';

const SERVER = fileURLToPath(new URL('../../support/laneServer.ts', import.meta.url));
const skip = findRedisServer() === undefined && 'no redis-server on this machine';
const inFuture = (ms = 30_000) => Date.now() + ms;

describe('requests that go straight to a server', { skip }, () => {
  let redis: TestRedis;
  let backend: Backend;
  let raw: Redis;

  before(async () => {
    redis = await startRedis();
    backend = await openBackend(loadConfig({ BACKEND_URL: redis.url, KEY_PREFIX: 'p' }), silentLogger);
    raw = new Redis(redis.url);
  });
  after(async () => {
    raw.disconnect();
    await backend.close();
    await redis.stop();
  });

  /** Says that it is there, and answers nobody. */
  const enterGhost = (fingerprint: string) =>
    new Presence(raw, 'p', `interactive.${fingerprint}.servers`, silentLogger).enter('ghost', () => 'open');

  test('one request leaves no trace in the queue, and counts while it runs', async () => {
    const release = Promise.withResolvers<void>();
    const server = await backend.interactive.serve(
      'plain',
      async () => {
        await release.promise;
        return 'done';
      },
      { concurrency: 2 },
    );
    const answer = backend.interactive.request('plain', {}, { deadlineAtMs: inFuture() });
    await until(async () => (await backend.interactive.depth('plain')) === 1, 'it counts');
    const jobs = await raw.llen('p:{interactive.plain}:active');
    release.resolve();
    assert.equal(await answer, 'done');
    assert.equal(jobs, 0, 'no job of the queue was made');
    await until(async () => (await backend.interactive.depth('plain')) === 0, 'it counts no more');
    await server.close();
  });

  test('an offer that nobody hears goes to the queue, and another server takes it', async () => {
    const ghost = await enterGhost('deaf');
    const answer = backend.interactive.request('deaf', {}, { deadlineAtMs: inFuture() });
    await until(async () => (await raw.llen('p:{interactive.deaf}:wait')) === 1, 'it waits in the queue');
    const server = await backend.interactive.serve('deaf', async () => 'here', { concurrency: 1 });
    assert.equal(await answer, 'here');
    await server.close();
    await ghost.close();
  });

  test('an offer that a living server did not hear goes to the queue; it is offered nothing more', async () => {
    const ghost = await enterGhost('mute');
    const ears = new Redis(redis.url);
    let offers = 0;
    ears.on('message', () => offers++);
    await ears.subscribe('p:offer:ghost');
    try {
      const ask = () => backend.interactive.request('mute', {}, { deadlineAtMs: inFuture() });
      const answer = ask();
      const server = await backend.interactive.serve('mute', async () => 'here', { concurrency: 1 });
      assert.equal(await answer, 'here');
      assert.equal(offers, 1);
      for (let i = 0; i < 3; i++) assert.equal(await ask(), 'here');
      await ears.ping();
      assert.equal(offers, 1, 'nor would it have answered these');
      await until(async () => (await backend.interactive.depth('mute')) === 0, 'nothing is left');
      await server.close();
    } finally {
      ears.disconnect();
      await ghost.close();
    }
  });

  const offerKeys = (fingerprint: string) => raw.keys(`p:{interactive.${fingerprint}}:offer:*`);

  /** A server in a process of its own, frozen with an offer that it has not read, and one here. */
  const freezeWithOffer = async (
    t: TestContext,
    fingerprint: string,
    handler: (task: object) => Promise<string>,
  ) => {
    const child = spawn(process.execPath, [SERVER, redis.url, fingerprint], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    await once(child.stdout, 'data');
    const server = await backend.interactive.serve(fingerprint, handler, { concurrency: 1 });
    t.after(async () => {
      child.kill('SIGKILL');
      await exited;
      await server.close();
    });
    child.kill('SIGSTOP');
    // Of two with as few requests, the one that came first gets it.
    const answer = backend.interactive.request(fingerprint, { first: true }, { deadlineAtMs: inFuture() });
    await until(async () => (await offerKeys(fingerprint)).length === 1, 'it is offered');
    return { child, exited, answer };
  };

  test('what a server had not read when it was killed goes to another one', async (t) => {
    const { child, exited, answer } = await freezeWithOffer(t, 'unread', async () => 'here');
    child.kill('SIGKILL');
    await exited;
    assert.equal(await answer, 'here');
    assert.equal(await raw.exists('p:{interactive.unread}:id'), 0, 'straight: no job of the queue was made');
  });

  test('a server that wakes up late does not answer what was taken back from it', async (t) => {
    const release = Promise.withResolvers<void>();
    let runs = 0;
    const hold = async (task: object) => {
      if ('first' in task) runs++;
      await release.promise;
      return 'here';
    };
    const { child, answer } = await freezeWithOffer(t, 'late', hold);
    await until(() => runs === 1, 'the other one has it');
    child.kill('SIGCONT');
    // One of them may wait for room in the server here; the other one waits for nobody but it.
    const more = [1, 2].map(() => backend.interactive.request('late', {}, { deadlineAtMs: inFuture() }));
    assert.equal(typeof (await Promise.race(more)), 'number', 'it serves again');
    release.resolve();
    assert.equal(await answer, 'here');
    await Promise.all(more);
    await until(async () => (await backend.interactive.depth('late')) === 0, 'nothing is left');
    assert.equal(runs, 1);
  });

  test('an offer whose server dies of it goes to no other server', async () => {
    const [expiries, values] = ['expiries', 'values'].map((name) => `p:{interactive.killed.servers}:${name}`);
    const ears = new Redis(redis.url);
    ears.on('messageBuffer', (_channel, bytes) => {
      void raw.del(`p:{interactive.killed}:offer:${unpackOffer(bytes).id}`);
    });
    await ears.subscribe('p:offer:ghost');
    try {
      // Its last heartbeat was 3.5 s ago.
      await raw.zadd(expiries!, Date.now() + 3_500, 'ghost');
      await raw.hset(values!, 'ghost', 'open');
      const answer = backend.interactive.request('killed', {}, { deadlineAtMs: inFuture() });
      const ended = assert.rejects(
        answer,
        (error: TrivecError) => error.code === 'model_unavailable' && error.retryAfterSeconds === 1,
      );
      let runs = 0;
      const server = await backend.interactive.serve('killed', async () => void runs++, { concurrency: 1 });
      await ended;
      assert.equal(await backend.interactive.depth('killed'), 0);
      await server.close();
      assert.equal(runs, 0);
    } finally {
      ears.disconnect();
    }
  });

  test('what a process that was killed had offered is counted and kept no longer than its deadline', async () => {
    const key = 'p:{interactive.left}:offered';
    await raw.zadd(key, Date.now() - 1, 'past');
    await raw.zadd(key, Date.now() + 60_000, 'running');
    assert.equal(await backend.interactive.depth('left'), 1);
    assert.deepEqual(await raw.zrange(key, '0', '-1'), ['running']);
  });

  const offerChannels = async (count: number) => {
    let channels: string[] = [];
    const found = async () => {
      channels = (await raw.pubsub('CHANNELS', 'p:offer:*')) as string[];
      return channels.length === count;
    };
    await until(found, 'the servers hear');
    return channels;
  };

  test('an offer that is sent twice runs once, and what nobody can read is dropped', async () => {
    const release = Promise.withResolvers<void>();
    let runs = 0;
    const handler = async () => {
      runs++;
      await release.promise;
    };
    const server = await backend.interactive.serve('twice', handler, { concurrency: 2 });
    try {
      const [channel] = await offerChannels(1);
      const offer = { id: 'same', replyChannel: 'nobody', allowedMs: 30_000, task: packTask({}) };
      for (const bytes of ['\xc1 unreadable', packOffer(offer), packOffer(offer)]) {
        await raw.set('p:{interactive.twice}:offer:same', '');
        await raw.publish(channel!, bytes);
      }
      const answer = backend.interactive.request('twice', {}, { deadlineAtMs: inFuture() });
      await until(() => runs === 2, 'both ids run');
      release.resolve();
      await answer;
      assert.equal(runs, 2);
    } finally {
      release.resolve();
      await server.close();
    }
  });

  test('a server that stops gives back what waits for its room', async () => {
    const other = await openBackend(loadConfig({ BACKEND_URL: redis.url, KEY_PREFIX: 'p' }), silentLogger);
    try {
      let runs = 0;
      const hold = async (_task: unknown, { signal }: { signal: AbortSignal }) => {
        runs++;
        await new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason));
        });
      };
      const stopping = await other.interactive.serve('stopping', hold, { concurrency: 1 });
      const first = backend.interactive.request('stopping', {}, { deadlineAtMs: inFuture() });
      const ended = assert.rejects(first, (error: TrivecError) => error.code === 'shutting_down');
      await until(() => runs === 1, 'the first runs');
      const second = backend.interactive.request('stopping', {}, { deadlineAtMs: inFuture() });
      await until(async () => (await raw.llen('p:{interactive.stopping}:active')) === 1, 'the second waits');
      const next = await backend.interactive.serve('stopping', async () => 'here', { concurrency: 1 });
      await stopping.close();
      await ended;
      assert.equal(await second, 'here');
      assert.equal(runs, 1);
      await next.close();
    } finally {
      await other.close();
    }
  });

  test('where Redis lets nobody subscribe no connection is left behind', async () => {
    await raw.acl('SETUSER', 'limited', 'on', '>secret', '~*', '+@all', 'resetchannels');
    const url = redis.url.replace('//', '//limited:secret@');
    const limited = await openBackend(loadConfig({ BACKEND_URL: url, KEY_PREFIX: 'q' }), silentLogger);
    try {
      for (let i = 0; i < 3; i++)
        await assert.rejects(limited.interactive.request('f', {}, { deadlineAtMs: inFuture() }), TrivecError);
      const connections = async () => String(await raw.client('LIST')).match(/user=limited /g)?.length;
      await until(async () => (await connections()) === 1, 'only that of its commands is left');
    } finally {
      await limited.close();
    }
  });
});
