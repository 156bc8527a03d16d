import assert from 'node:assert/strict';
import test from 'node:test';
import { Prefetch } from '@trivec/core/jobs/prefetch';

const shardMaxBytes = 128 * 1024;

test('a slow device holds two shards, a fast one 15 seconds of them and the one that ends, up to eight', () => {
  const prefetch = new Prefetch({ prefetchShards: 0, shardMaxBytes });
  assert.equal(prefetch.shards(1e9), 2, 'before it is known what its vectors measure');
  prefetch.noted({ tokens: 30_000, resultBytes: 1e6 });
  assert.equal(prefetch.shards(0), 2);
  assert.equal(prefetch.shards(300), 2);
  assert.equal(prefetch.shards(6000), 4);
  assert.equal(prefetch.shards(1e9), 8);
});

test('small shards say nothing of those to come', () => {
  const prefetch = new Prefetch({ prefetchShards: 0, shardMaxBytes });
  prefetch.noted({ tokens: 10, resultBytes: 4000 });
  assert.equal(prefetch.shards(300), 2);
  prefetch.noted({ tokens: 0, resultBytes: 0 });
  assert.equal(prefetch.shards(300), 2);
});

test('shards with large vectors are held in no greater number than memory allows', () => {
  const prefetch = new Prefetch({ prefetchShards: 0, shardMaxBytes });
  prefetch.noted({ tokens: 100, resultBytes: 100 * 24 });
  assert.equal(prefetch.shards(1e9), 8);
  for (let i = 0; i < 9; i++) prefetch.noted({ tokens: 100, resultBytes: 100 * 2000 });
  assert.equal(prefetch.shards(1e9), 4);
  for (let i = 0; i < 9; i++) prefetch.noted({ tokens: 100, resultBytes: 100 * 5000 });
  assert.equal(prefetch.shards(1e9), 2);
});

test('a number that was set stays', () => {
  const prefetch = new Prefetch({ prefetchShards: 7, shardMaxBytes });
  prefetch.noted({ tokens: 30_000, resultBytes: 1e9 });
  assert.equal(prefetch.shards(1e9), 7);
});
