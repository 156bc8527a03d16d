import assert from 'node:assert/strict';
import test from 'node:test';
import { loadConfig } from '../../../packages/core/src/config.ts';
import { openQdrant } from '../../../packages/core/src/sinks/qdrant/open.ts';
import { qdrantTargets } from '../../../packages/core/src/sinks/qdrant/targets.ts';

test('the server of QDRANT_URL has no name, those of QDRANT_TARGETS have theirs', () => {
  const config = loadConfig({
    QDRANT_URL: 'http://one:6333',
    QDRANT_API_KEY: 'k1',
    QDRANT_TARGETS:
      '{"eu": {"url": "https://eu.example", "apiKey": "k2"}, "__proto__x": {"url": "http://x"}}',
    QDRANT_CONCURRENCY: '2',
  });
  const targets = qdrantTargets(config);
  assert.deepEqual([...targets.keys()], [undefined, 'eu', '__proto__x']);
  const { url, apiKey, concurrency } = targets.get('eu')!;
  assert.deepEqual([url, apiKey, concurrency], ['https://eu.example', 'k2', 2]);
  assert.equal(targets.get(undefined)?.apiKey, 'k1');
  assert.equal(targets.get('__proto__x')?.apiKey, undefined);
});

test('no server configured: none; only named ones: none without a name', async () => {
  assert.equal(openQdrant(loadConfig({})), undefined);
  const sinks = openQdrant(loadConfig({ QDRANT_TARGETS: '{"eu": {"url": "http://eu"}}' }))!;
  assert.deepEqual([sinks.of(undefined), sinks.names], [undefined, ['eu']]);
  assert.equal(sinks.of('eu')?.connection.description, 'http://eu:6333');
  await sinks.close();
});

test('malformed targets stop the start, and no key is shown', () => {
  for (const text of [
    'nothing',
    '[]',
    '{"eu": "http://eu"}',
    '{"eu": {"url": "ftp://eu", "apiKey": "secret"}}',
    '{"e/u": {"url": "http://eu", "apiKey": "secret"}}',
    '{"eu": {"url": "http://user:secret@eu"}}',
    '{"eu": {"url": "http://eu", "key": "secret"}}',
  ])
    assert.throws(
      () => qdrantTargets(loadConfig({ QDRANT_TARGETS: text })),
      (error: unknown) =>
        error instanceof Error && /QDRANT_TARGETS/.test(error.message) && !/secret/.test(error.message),
      text,
    );
});
