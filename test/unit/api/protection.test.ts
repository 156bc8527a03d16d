import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import test from 'node:test';
import { ApiKeys, mayUse } from '@trivec/api/apiKeys';
import { createLogger } from '@trivec/core/telemetry/logger';
import { apiRig, assertError } from '../../support/apiRig.ts';

const ANNA = 'anna-key-0123456789';
const BERT = 'bert-key-0123456789';
const ROOT = 'root-key-0123456789';
const KEYS = { API_KEYS: `anna=${ANNA},bert:user=${BERT},root:admin=${ROOT}` };
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const document = { documents: [{ id: 1, text: 'a' }] };

test('with keys, all but health and docs is closed, in the words of each surface', async (t) => {
  const { get, post, app } = await apiRig(t, { env: KEYS });
  for (const url of [
    '/health/live',
    '/health/ready',
    '/openapi.json',
    '/docs/',
    '/docs/json',
    '/tei/health',
    '/smart-embedder/health',
    '/infinity/health',
    '/semantic-explorer/health/ready',
    '/embedding-server/health',
  ])
    assert.equal((await get(url)).statusCode, 200, url);
  for (const url of ['/jobs', '/models', '/metrics', '/stats', '/nope'])
    assertError(await get(url), 401, 'unauthorized', /takes an API key/, 'authorization');
  const wrong = await get('/models', bearer('wrong-key-0123456789'));
  assertError(wrong, 401, 'unauthorized', /not known/);
  assert.equal(wrong.headers['www-authenticate'], 'Bearer');
  const tei = await post('/tei/embed', { inputs: 'a' });
  assert.deepEqual([tei.statusCode, tei.body], [401, '']);
  assert.equal((await post('/v1/embeddings', { input: 'a' })).json().error.code, 'invalid_api_key');
  assert.match((await post('/smart-embedder/rerank', {})).json().detail, /API key/);
  for (const headers of [bearer(ANNA), { 'x-api-key': ANNA }, { 'api-key': ANNA }])
    assert.equal((await post('/embeddings', { input: 'a' }, headers)).statusCode, 200);
  // What every POST could otherwise tell by its body is closed before the body is read.
  const { statusCode } = await app.inject({ method: 'POST', url: '/embeddings', payload: 'x'.repeat(100) });
  assert.equal(statusCode, 401);
});

test('the OpenAPI document says which routes take a key, and where none is needed', async (t) => {
  const open = (await (await apiRig(t)).get('/openapi.json')).json();
  assert.deepEqual(open.security, [{}, { bearer: [] }, { apiKey: [] }]);
  const { get } = await apiRig(t, { env: KEYS });
  const { components, security, paths } = (await get('/openapi.json')).json();
  assert.deepEqual(security, [{ bearer: [] }, { apiKey: [] }]);
  assert.deepEqual(Object.keys(components.securitySchemes), ['bearer', 'apiKey']);
  for (const [path, methods] of Object.entries<Record<string, { security?: object[] }>>(paths)) {
    if (methods.get === undefined || path.includes('{')) continue;
    const isOpen = (await get(path)).statusCode !== 401;
    assert.deepEqual(methods.get.security, isOpen ? [] : undefined, path);
  }
});

test('a job belongs to the key that made it; an admin sees all', async (t) => {
  const { get, post } = await apiRig(t, { env: KEYS });
  const { id } = (await post('/jobs', document, bearer(ANNA))).json();
  assert.equal((await get(`/jobs/${id}`, bearer(ANNA))).statusCode, 200);
  assert.equal((await get(`/jobs/${id}`, bearer(ROOT))).statusCode, 200);
  assertError(await get(`/jobs/${id}`, bearer(BERT)), 404, 'job_not_found', /./);
  assertError(await post(`/jobs/${id}/cancel`, undefined, bearer(BERT)), 404, 'job_not_found', /./);
  assert.deepEqual((await get('/jobs', bearer(BERT))).json().jobs, []);
  assert.equal((await get('/jobs', bearer(ROOT))).json().jobs.length, 1);
});

test('keys from a file, as they are or as their SHA-256, limited to routes', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'trivec-keys-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'keys.json');
  const sha256 = createHash('sha256').update(BERT).digest('hex');
  const write = (content: unknown) => writeFileSync(file, JSON.stringify(content));
  write([
    { name: 'anna', key: ANNA, routes: ['/embeddings', '/tei/*'] },
    { name: 'bert', sha256, role: 'admin' },
  ]);
  const { get, post } = await apiRig(t, { env: { API_KEYS_FILE: file } });
  assert.equal((await post('/embeddings', { input: 'a' }, bearer(ANNA))).statusCode, 200);
  assert.equal((await post('/tei/embed', { inputs: 'a' }, bearer(ANNA))).statusCode, 200);
  assertError(await get('/jobs', bearer(ANNA)), 403, 'forbidden', /anna may not use \/jobs/);
  assert.equal((await get('/jobs', bearer(BERT))).statusCode, 200);
  const config = { apiKeys: [], apiKeysFile: file };
  for (const [content, message] of [
    [[{ name: 'a', key: 'short' }], /0\/key/],
    [[{ name: 'a' }], /the key a takes one of/],
    [[{ name: 'anonymous', key: ANNA }], /the name anonymous is that of requests without a key/],
    [
      [
        { name: 'a', key: ANNA },
        { name: 'b', key: ANNA },
      ],
      /a and b have the same key/,
    ],
    [
      [
        { name: 'a', key: ANNA },
        { name: 'a', key: BERT },
      ],
      /the name a stands twice/,
    ],
  ] as const) {
    write(content);
    assert.throws(() => new ApiKeys(config), { code: 'invalid_config', message });
  }
  writeFileSync(file, `{"key": "${ANNA}"`);
  assert.throws(
    () => new ApiKeys(config),
    (error: Error) => /cannot be read as JSON/.test(error.message) && !error.message.includes(ANNA),
  );
});

test('route patterns end where they say', () => {
  assert.ok(mayUse({ routes: ['/jobs/*'] }, '/jobs/:id'));
  assert.ok(!mayUse({ routes: ['/jobs/*'] }, '/jobs'));
  assert.ok(!mayUse({ routes: ['/jobs'] }, '/jobs/:id'));
  assert.ok(mayUse({ routes: undefined }, '/anything'));
});

test('an open bind starts with keys; no key reaches a log', async (t) => {
  const lines: string[] = [];
  const logger = createLogger(
    { logLevel: 'trace' },
    new Writable({ write: (chunk, _encoding, done) => done(void lines.push(String(chunk))) }),
  );
  const { get, post } = await apiRig(t, { env: { ...KEYS, HOST: '0.0.0.0' }, deps: { logger } });
  await post('/embeddings', { input: 'a' }, bearer(ANNA));
  await get('/jobs', bearer('wrong-key-0123456789'));
  await get(`/nope?key=${BERT}`, { 'x-api-key': BERT });
  await new Promise((resolve) => setImmediate(resolve));
  assert.ok(lines.length > 0);
  assert.doesNotMatch(lines.join(''), /key-0123456789/);
});

test('requests a minute of each key: refused with the usual headers, others not touched', async (t) => {
  const { get, post } = await apiRig(t, { env: { ...KEYS, RATE_LIMIT_REQUESTS: '2' } });
  const first = await get('/models', bearer(ANNA));
  assert.equal(first.headers['ratelimit-limit'], '2');
  assert.equal(first.headers['ratelimit-remaining'], '1');
  assert.ok(Number(first.headers['ratelimit-reset']) <= 60);
  await get('/models', bearer(ANNA));
  const refused = await post('/embeddings', { input: 'a' }, bearer(ANNA));
  assertError(refused, 429, 'rate_limited', /More than 2 requests in a minute/);
  assert.ok(Number(refused.headers['retry-after']) >= 1);
  assert.equal(refused.headers['ratelimit-remaining'], '0');
  const peer = await post('/smart-embedder/embeddings', { sentences: ['a'] }, bearer(ANNA));
  assert.equal(peer.statusCode, 429);
  assert.equal(peer.json().retry_after, Number(peer.headers['retry-after']));
  assert.equal((await get('/models', bearer(BERT))).statusCode, 200);
  assert.equal((await get('/health/ready')).statusCode, 200);
  assert.match((await get('/metrics', bearer(ROOT))).body, /refused_total\{reason="rate_limit"\} 2/);
});

test('TEI: a rate limit in its own words', async (t) => {
  const { post } = await apiRig(t, { env: { RATE_LIMIT_REQUESTS: '1' } });
  await post('/tei/embed', { inputs: 'a' });
  for (const [url, body, shape] of [
    ['/tei/embed', { inputs: 'a' }, { error: '', error_type: 'Overloaded' }],
    ['/tei/v1/embeddings', { input: 'a' }, { message: '', code: 429, type: 'Overloaded' }],
    ['/tei/nope', {}, { error: '', error_type: 'Overloaded' }],
  ] as const) {
    const refused = await post(url, body);
    assert.equal(refused.statusCode, 429);
    assert.ok(Number(refused.headers['retry-after']) >= 1);
    const { error, message, ...rest } = refused.json();
    assert.match(error ?? message, /More than 1 requests in a minute/);
    assert.deepEqual({ ...(error === undefined ? { message: '' } : { error: '' }), ...rest }, shape);
  }
});

test('guesses of keys count against the address; who has a key goes on', async (t) => {
  const { get } = await apiRig(t, { env: { ...KEYS, RATE_LIMIT_REQUESTS: '2' } });
  assertError(await get('/models', bearer('wrong-key-0123456789')), 401, 'unauthorized', /not known/);
  assertError(await get('/models'), 401, 'unauthorized', /takes an API key/);
  const refused = await get('/models', bearer('other-key-0123456789'));
  assertError(refused, 429, 'rate_limited', /More than 2 requests/);
  assert.ok(Number(refused.headers['retry-after']) >= 1);
  assert.equal((await get('/models', bearer(ANNA))).statusCode, 200);
});

test('tokens a minute are charged when they are known', async (t) => {
  const { post } = await apiRig(t, { env: { RATE_LIMIT_TOKENS: '5' } });
  const ask = () => post('/embeddings', { input: 'a b' });
  assert.equal((await ask()).headers['ratelimit-remaining'], '5');
  assert.equal((await ask()).headers['ratelimit-remaining'], '1');
  assertError(await ask(), 429, 'rate_limited', /More than 5 tokens in a minute/);
});

test('addresses are those of clients where a proxy is trusted, and only then', async (t) => {
  for (const [env, second] of [
    [{ TRUSTED_PROXIES: '127.0.0.1' }, 200],
    [{}, 429],
  ] as const) {
    const { get } = await apiRig(t, { env: { RATE_LIMIT_REQUESTS: '1', ...env } });
    assert.equal((await get('/models', { 'x-forwarded-for': '10.0.0.1' })).statusCode, 200);
    assert.equal((await get('/models', { 'x-forwarded-for': '10.0.0.2' })).statusCode, second);
  }
});

test('pages of the origins named may call, others may not', async (t) => {
  const { request } = await apiRig(t, { env: { CORS_ORIGINS: 'https://app.example' } });
  const call = (origin: string, method: 'POST' | 'OPTIONS') =>
    request({
      method,
      url: '/embeddings',
      headers: {
        origin,
        host: 'localhost',
        ...(method === 'OPTIONS' && { 'access-control-request-method': 'POST' }),
      },
      ...(method === 'POST' && { payload: { input: 'a' } }),
    });
  const allowed = await call('https://app.example', 'POST');
  assert.equal(allowed.statusCode, 200, allowed.body);
  assert.equal(allowed.headers['access-control-allow-origin'], 'https://app.example');
  assert.equal((await call('https://app.example', 'OPTIONS')).statusCode, 204);
  assert.equal((await call('https://evil.example', 'POST')).statusCode, 403);
});

test('a full queue answers with its depth and the wait, before any work', async (t) => {
  const gate = Promise.withResolvers<void>();
  const { app, engine } = await apiRig(t, { env: { MAX_CONCURRENT_TASKS: '1', MAX_QUEUED_TASKS: '1' } });
  const embed = engine.embed.bind(engine);
  engine.embed = async (...call) => {
    await gate.promise;
    return embed(...call);
  };
  const post = (url: string, payload: object) => app.inject({ method: 'POST', url, payload });
  const held = [post('/embeddings', { input: 'a' }), post('/embeddings', { input: 'a' })];
  while ((await app.inject('/stats')).json().models[0].queueDepth < 2)
    await new Promise((resolve) => setTimeout(resolve, 5));
  const refused = await post('/embeddings', { input: 'a' });
  assertError(refused, 429, 'overloaded', /The queue is full/);
  assert.ok(Number(refused.headers['retry-after']) >= 1);
  assert.equal(refused.headers['x-queue-depth'], '2');
  assert.ok(refused.headers['x-estimated-wait-ms'] !== undefined);
  for (const [url, payload, status] of [
    ['/tei/embed', { inputs: 'a' }, 429],
    ['/smart-embedder/embeddings', { sentences: ['a'] }, 503],
    ['/semantic-explorer/embed', { input: 'a' }, 503],
  ] as const) {
    const peer = await post(url, payload);
    assert.equal(peer.statusCode, status, url);
    assert.ok(peer.headers['retry-after'] !== undefined && peer.headers['x-queue-capacity'] === '2');
  }
  gate.resolve();
  for (const response of await Promise.all(held)) assert.equal(response.statusCode, 200);
  assert.equal((await app.inject('/stats')).json().models[0].queueDepth, 0);
});

test('what takes too long is 504, and what waits for it is withdrawn', async (t) => {
  const { post, engine, get } = await apiRig(t, { env: { MAX_CONCURRENT_TASKS: '1' } });
  const gate = Promise.withResolvers<void>();
  const embed = engine.embed.bind(engine);
  let runs = 0;
  engine.embed = async (...call) => {
    runs++;
    await gate.promise;
    return embed(...call);
  };
  const first = post('/embeddings', { input: 'a' });
  const late = await post('/embeddings', { input: 'a', timeoutMs: 20 });
  assertError(late, 504, 'deadline_exceeded', /in time/);
  gate.resolve();
  assert.equal((await first).statusCode, 200);
  assert.equal(runs, 1);
  assert.equal((await get('/stats')).json().models[0].queueDepth, 0);
});

test('a sender that stands still is cut off; one that is slow and steady is not', async (t) => {
  const { app } = await apiRig(t, { env: { BODY_IDLE_TIMEOUT_MS: '600' } });
  const port = Number(new URL(await app.listen({ host: '127.0.0.1', port: 0 })).port);
  const head =
    'POST /embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n';
  const stalled = connect(port, '127.0.0.1');
  stalled.on('error', () => {});
  stalled.write(`${head}{"inp`);
  const steady = connect(port, '127.0.0.1').setEncoding('utf8');
  steady.write(head);
  for (const part of ['{"inp', 'ut":', '"a"}']) {
    await new Promise((resolve) => setTimeout(resolve, 250));
    steady.write(part);
  }
  const [answer] = await once(steady, 'data');
  assert.match(answer, /^HTTP\/1\.1 200 OK/);
  steady.destroy();
  if (!stalled.closed) await once(stalled, 'close');
});

test('a stop says not ready first, and still serves for a while', async (t) => {
  const { app } = await apiRig(t, { env: { SHUTDOWN_DELAY_MS: '1000' } });
  const address = await app.listen({ host: '127.0.0.1', port: 0 });
  const agent = { headers: { connection: 'close' } };
  const closed = app.close();
  while (!app.isDraining()) await new Promise(setImmediate);
  assert.equal((await fetch(`${address}/health/ready`, agent)).status, 503);
  assert.equal((await fetch(`${address}/health/live`, agent)).status, 200);
  await closed;
});
