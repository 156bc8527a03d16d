import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { loadConfig, OPTION_SECTIONS, OPTIONS, readEnvironment } from '@trivec/core/config';
import { TrivecError } from '@trivec/core/errors';
import { Value } from 'typebox/value';

test('every default satisfies its own schema', () => {
  for (const { env, schema, default: value } of Object.values(OPTIONS))
    assert.ok(value === undefined || Value.Check(schema, value), env);
});

test('no two options share a name, and each stands under one heading of the docs', () => {
  const listed = Object.values(OPTION_SECTIONS).flatMap((options) => Object.values(options));
  assert.deepEqual(
    listed.map(({ env }) => env).toSorted(),
    Object.values(OPTIONS)
      .map(({ env }) => env)
      .toSorted(),
  );
  assert.equal(new Set(listed.map(({ env }) => env)).size, listed.length);
});

test('an empty value counts as absent; integers, booleans and lists are parsed', () => {
  const config = loadConfig({
    PORT: '',
    HF_HUB_OFFLINE: '1',
    MODELS: ' a, b ,,c ',
    MAX_INPUTS: '7',
    MAX_BULK_TEXT_TOKENS: '16',
  });
  assert.equal(config.port, 8080);
  assert.equal(config.hfHubOffline, true);
  assert.deepEqual(config.models, ['a', 'b', 'c']);
  assert.equal(config.maxInputs, 7);
  assert.equal(config.maxBulkTextTokens, 16);
});

test('a malformed value is refused by its name, with what the option takes', () => {
  for (const [env, value, expected] of [
    ['PORT', '80 80', 'PORT: "80 80" is not an integer from 0 to 65535.'],
    ['PORT', '65536', 'PORT: "65536" is not an integer from 0 to 65535.'],
    ['HF_HUB_OFFLINE', 'yes', 'HF_HUB_OFFLINE: "yes" is not true or false.'],
    ['MAX_BULK_TEXT_TOKENS', '3', 'MAX_BULK_TEXT_TOKENS: "3" is not 0 or an integer from 16 to 1000000.'],
    ['LOG_LEVEL', 'loud', 'LOG_LEVEL: "loud" is not one of fatal, '],
  ] as const)
    assert.throws(
      () => loadConfig({ [env]: value }),
      (error) =>
        error instanceof TrivecError && error.code === 'invalid_config' && error.message.startsWith(expected),
    );
});

test('a malformed secret is refused without being shown', () => {
  assert.throws(
    () => loadConfig({ API_KEYS: 'name=tooshort' }),
    (error) => error instanceof TrivecError && !error.message.includes('tooshort'),
  );
});

test('the environment wins over the .env file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'trivec-config-'));
  try {
    const file = join(folder, '.env');
    writeFileSync(file, 'PORT=1\nMODEL="a folder"\n');
    const env = readEnvironment(file, { PORT: '2' });
    assert.equal(env.PORT, '2');
    assert.equal(env.MODEL, 'a folder');
    assert.deepEqual(readEnvironment(join(folder, 'none'), { PORT: '2' }), { PORT: '2' });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
