import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseServer, withoutAvoided } from '@trivec/core/replies/directOffer';
import { offerRequest } from '@trivec/core/replies/redisRequests';
import { unpackOffer } from '@trivec/core/replies/wire';

test('a request goes to the server that has the fewest of this process', () => {
  assert.equal(chooseServer(['a', 'b', 'c'], ['a', 'c', 'b', 'a', 'c']), 'b');
  assert.equal(chooseServer(['a', 'b'], ['gone', 'gone', 'a']), 'b');
});

test('it goes to the queue where no server is open, all have enough, or somebody waits there', () => {
  assert.equal(chooseServer([], []), undefined);
  const many = Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? 'a' : 'b'));
  assert.equal(chooseServer(['a', 'b'], many), undefined);
  assert.equal(chooseServer(['a', 'b'], ['a', undefined]), undefined);
});

test('a server that is avoided is offered nothing until its time is over', () => {
  const avoided = new Map([
    ['a', 1_000],
    ['gone', 1_000],
  ]);
  assert.deepEqual(withoutAvoided(['a', 'b'], avoided, 999), ['b']);
  assert.deepEqual(withoutAvoided(['a', 'b'], avoided, 1_000), ['a', 'b']);
  assert.equal(
    chooseServer(withoutAvoided(['a'], avoided, 999), []),
    undefined,
    'the queue, where nobody else is',
  );
});

test('an offer says how long there is still, also where another server had it before', async () => {
  const lastedMs: number[] = [];
  const offers: Buffer[] = [];
  const commands: Record<string, (...args: never[]) => unknown> = {
    zadd: () => commands,
    pexpire: () => commands,
    set: (_key: string, _value: string, _px: string, ms: number) => {
      lastedMs.push(ms);
      return commands;
    },
    publish: (_channel: string, bytes: Buffer) => {
      offers.push(bytes);
      return commands;
    },
    exec: async () => [[null, 1]],
  };
  const redis = { pipeline: () => commands } as never;
  const lane = { offeredKey: 'offered', offerKey: (id: string) => id } as never;
  const request = { id: 'a', task: Buffer.from('task'), replyChannel: 'replies', allowedMs: 30_000 };
  assert.ok(await offerRequest(redis, lane, 'offers', { ...request, deadlineAtMs: Date.now() + 20_000 }));
  const { allowedMs } = unpackOffer(offers[0]!);
  assert.ok(allowedMs > 0 && allowedMs <= 20_000, String(allowedMs));
  assert.deepEqual(lastedMs, [allowedMs]);
  await assert.rejects(offerRequest(redis, lane, 'offers', { ...request, deadlineAtMs: Date.now() }), {
    code: 'deadline_exceeded',
  });
});
