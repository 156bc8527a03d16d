import assert from 'node:assert/strict';
import test from 'node:test';
import { Prefetch } from '@trivec/core/jobs/prefetch';

test('a slow device holds two shards, a fast one six seconds of them and the one that ends', () => {
  const prefetch = new Prefetch(0);
  assert.equal(prefetch.shards(0), 2);
  assert.equal(prefetch.shards(5000), 2);
  prefetch.noted({ tokens: 30_000, resultBytes: 1e6 });
  assert.equal(prefetch.shards(0), 2);
  assert.equal(prefetch.shards(5000), 2);
  assert.equal(prefetch.shards(15_000), 4);
  assert.equal(prefetch.shards(10_000_000), 16);
});

test('shards with large vectors are held in no greater number than memory allows, one small shard changes little', () => {
  const prefetch = new Prefetch(0);
  for (let i = 0; i < 9; i++) prefetch.noted({ tokens: 30_000, resultBytes: 120e6 });
  assert.equal(prefetch.shards(1_000_000), 2);
  const small = new Prefetch(0);
  for (let i = 0; i < 9; i++) small.noted({ tokens: 30_000, resultBytes: 1e6 });
  small.noted({ tokens: 100, resultBytes: 1e4 });
  assert.equal(small.shards(5_000), 3);
});

test('a number that was set stays', () => {
  const prefetch = new Prefetch(7);
  prefetch.noted({ tokens: 30_000, resultBytes: 1e9 });
  assert.equal(prefetch.shards(1e9), 7);
});
