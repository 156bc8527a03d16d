import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { checkApiConfig } from '@trivec/api/checkApiConfig';
import { announceUrl, lockDataDir } from '@trivec/core/backend/dataDirLock';
import { loadConfig } from '@trivec/core/config';
import { makeFolder } from '@trivec/core/folders';
import { describeModel } from '@trivec/core/models/describe';
import { openStorage } from '@trivec/core/storage/open';
import { createLogger } from '@trivec/core/telemetry/logger';
import { terminalLog } from '@trivec/core/telemetry/terminalLog';
import { startStandalone } from '@trivec/standalone/server';
import { welcome } from '@trivec/standalone/welcome';

const KEY = 'a-key-of-sixteen-and-more';
const silent = createLogger({ logLevel: 'silent' });

function tempFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'trivec-start-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test('mistakes in the options of the API are found before anything is opened or loaded', async (t) => {
  const folder = tempFolder(t);
  const file = join(folder, 'keys.json');
  writeFileSync(file, '[{"name":');
  const taken = createServer().listen(0, '127.0.0.1');
  t.after(() => taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  const mistakes: [Record<string, string>, RegExp][] = [
    [{ HOST: '0.0.0.0' }, /^HOST: 0\.0\.0\.0 is reachable/],
    [{ API_KEYS: `anna=${KEY},bert=${KEY}` }, /anna and bert have the same key/],
    [{ API_KEYS_FILE: file }, /^API_KEYS_FILE: .*keys\.json cannot be read/],
    [{ SOURCE_DIRS: `${folder},${folder}/none` }, /^SOURCE_DIRS: there is no folder .*\/none\.$/],
    [{ SOURCE_DIRS: file }, /^SOURCE_DIRS: this is no folder: .*keys\.json\.$/],
    [{ TRUSTED_PROXIES: '999' }, /^TRUSTED_PROXIES/],
    [{ PORT: String(port) }, new RegExp(`^PORT: ${port} of 127\\.0\\.0\\.1 is taken`)],
  ];
  const dataDir = join(folder, 'data');
  for (const [env, message] of mistakes) {
    const config = loadConfig({ PORT: '0', ...env, DATA_DIR: dataDir, MODEL: './no-such-model' });
    await assert.rejects(startStandalone(config, silent), { code: 'invalid_config', message });
    assert.ok(!existsSync(dataDir), 'nothing was opened');
  }
  await checkApiConfig(
    loadConfig({ HOST: '0.0.0.0', API_KEYS: `anna=${KEY}`, SOURCE_DIRS: folder, PORT: '0' }),
  );
});

test('folders that cannot be had are named with their option, at once', async (t) => {
  const folder = tempFolder(t);
  const file = join(folder, 'file');
  writeFileSync(file, '');
  // /proc takes no folder: there, `mkdir` with `recursive` never returns.
  const places = [file, join(file, 'below'), ...(existsSync('/proc/self') ? ['/proc/trivec/data'] : [])];
  for (const place of places) {
    const named = { code: 'invalid_config', message: new RegExp(`^DATA_DIR: the folder ${place}.* cannot`) };
    assert.throws(() => lockDataDir(place), named);
    await assert.rejects(openStorage(loadConfig({ DATA_DIR: place })), named);
    await assert.rejects(openStorage(loadConfig({ STORAGE_URL: `file://${place}` })), {
      code: 'invalid_config',
      message: new RegExp(`^STORAGE_URL: the folder ${place} cannot be used`),
    });
  }
  makeFolder(join(folder, 'a', 'b', 'c'), 0o700);
  makeFolder(join(folder, 'a', 'b', 'c'));
  assert.equal(statSync(join(folder, 'a', 'b', 'c')).mode & 0o777, 0o700);
});

test('whoever wants a folder that is held is told by whom, and where it listens', (t) => {
  const folder = tempFolder(t);
  const lock = lockDataDir(folder);
  t.after(() => lock.close());
  const held = new RegExp(`process ${process.pid} since \\S+\\. Stop it`);
  assert.throws(() => lockDataDir(folder), { code: 'data_dir_in_use', message: held });
  announceUrl(folder, 'http://127.0.0.1:1');
  assert.throws(() => lockDataDir(folder), { message: /, the server at http:\/\/127\.0\.0\.1:1\. Stop it/ });
});

test('a model that may not be downloaded, or a missing MODELS_DIR, is one error and no line about a download', async (t) => {
  const folder = tempFolder(t);
  const lines: string[] = [];
  const logger = createLogger({ logLevel: 'info' }, { write: (line) => lines.push(line) });
  const offline = loadConfig({ HF_HUB_OFFLINE: '1', HF_HOME: folder });
  await assert.rejects(describeModel('org/name', offline, logger), {
    code: 'invalid_model',
    message: /forbids downloading it\.$/,
  });
  await assert.rejects(describeModel('BAAI/bge-m4', offline, logger), {
    message: /Did you mean BAAI\/bge-m3\?$/,
  });
  const missing = loadConfig({ MODELS_DIR: join(folder, 'none') });
  await assert.rejects(describeModel('trivec-mini', missing, logger), {
    code: 'invalid_config',
    message: /^MODELS_DIR: there is no folder .*none\.$/,
  });
  assert.deepEqual(lines, []);
});

test('at a terminal, log lines are for people and hide what JSON lines hide', () => {
  let out = '';
  const logger = createLogger({ logLevel: 'info' }, terminalLog({ write: (text) => (out += text) }));
  logger.info({ url: 'http://x', count: 2, apiKey: KEY }, 'begun');
  logger.error({ err: new Error('no device') }, 'failed');
  logger.warn({ url: '/\u001b[2J\u009b1m' }, 'odd\nrequest');
  logger.debug('unseen');
  const lines = stripVTControlCharacters(out).split('\n');
  assert.match(lines[0]!, /^\d\d:\d\d:\d\d info begun url=http:\/\/x count=2 apiKey=\[redacted\]$/);
  assert.match(lines[1]!, /^\d\d:\d\d:\d\d error failed$/);
  assert.match(lines[2]!, /^Error: no device/);
  assert.ok(!out.includes('unseen'));
  assert.match(lines.at(-2)!, / warn odd\\u000arequest url=\/\\u001b\[2J\\u009b1m$/);
});

test('at a terminal, what goes well is a few words, and at debug all of it', () => {
  const shown = (full: boolean) => {
    let out = '';
    const logger = createLogger(
      { logLevel: 'info' },
      terminalLog({ write: (text) => (out += text) }, { full }),
    );
    logger.info({ device: 'cuda:1', reason: 'no library' }, 'device not available');
    logger.info({ model: 'm', cost: { fixedMs: 1 } }, 'model ready');
    logger.info({ model: 'm', dtype: 'int8', device: 'cpu', fingerprint: 'f' }, 'worker ready');
    logger.info('Server listening at http://x');
    logger.child({ reqId: 'r' }).info({ method: 'GET', route: '/jobs', status: 200, ms: 3 }, 'request');
    logger.warn({ url: 'http://y' }, 'listening');
    return stripVTControlCharacters(out).replaceAll(/^\S+ /gm, '').split('\n').slice(0, -1);
  };
  assert.deepEqual(shown(false), [
    'info cuda:1 is not used: no library',
    'info model m (int8) is ready on cpu',
    'info GET /jobs 200 in 3 ms',
    'warn listening url=http://y',
  ]);
  assert.equal(shown(true).length, 6);
  assert.equal(shown(true)[4], 'info request reqId=r method=GET route=/jobs status=200 ms=3');
});

test('the welcome says where the server is, who may use it and how to stop it, and no key', () => {
  const text = welcome('http://127.0.0.1:1', loadConfig({ API_KEYS: `anna=${KEY}`, MODELS: 'other' }));
  assert.match(text, /http:\/\/127\.0\.0\.1:1\/docs/);
  assert.match(text, /with an API key, on 127\.0\.0\.1/);
  assert.match(text, /trivec-mini, other/);
  assert.match(text, /Ctrl-C/);
  assert.ok(!text.includes(KEY));
  assert.ok(!text.includes('--url'), 'the command line finds the usual port');
  assert.match(welcome('http://h:1', loadConfig({ PORT: '1' })), /embed .* --url http:\/\/h:1 /);
  assert.match(welcome('u', loadConfig({ BACKEND_URL: 'redis://h' })), /this machine[\s\S]*on Redis/);
});
