import assert from 'node:assert/strict';
import test from 'node:test';
import { isLoopback } from '@trivec/api/plugins/hosts';
import { apiRig, assertError } from '../../support/apiRig.ts';

test('loopback addresses are told from others', () => {
  for (const host of ['127.0.0.1', '127.9.9.9', '::1', '[::1]', 'localhost', 'LOCALHOST', 'a.localhost'])
    assert.ok(isLoopback(host), host);
  for (const host of [
    '0.0.0.0',
    '::',
    '10.0.0.1',
    'localhost.evil.com',
    '127.0.0.1.evil.com',
    'example.com',
    '',
  ])
    assert.ok(!isLoopback(host), host);
});

test('a loopback bind answers to the names of this machine only', async (t) => {
  const { get } = await apiRig(t, { env: { ALLOWED_HOSTS: 'box.lan' } });
  for (const host of ['localhost:8080', '127.0.0.1', '[::1]:8080', 'Box.LAN:80'])
    assert.equal((await get('/health/live', { host })).statusCode, 200, host);
  for (const host of ['evil.com', 'evil.com:8080', 'localhost.evil.com', '127.0.0.1@evil.com', '10.0.0.1'])
    assertError(await get('/health/live', { host }), 403, 'forbidden_host', /ALLOWED_HOSTS/, 'host');
});

test('the Host rule guards paths that are not there, too', async (t) => {
  const { get } = await apiRig(t);
  assertError(await get('/nope', { host: 'evil.com' }), 403, 'forbidden_host', /Host/);
});

test('an open bind without keys refuses to start, unless that is meant', async (t) => {
  await assert.rejects(apiRig(t, { env: { HOST: '0.0.0.0' } }), {
    code: 'invalid_config',
    message: /HOST: 0\.0\.0\.0 .*ALLOW_ANONYMOUS=true/,
  });
  const { get } = await apiRig(t, { env: { HOST: '0.0.0.0', ALLOW_ANONYMOUS: 'true' } });
  assert.equal((await get('/health/live', { host: 'embeddings.example.com' })).statusCode, 200);
});

test('an open bind answers to the names that it is given, to addresses and to this machine', async (t) => {
  const env = { HOST: '0.0.0.0', ALLOW_ANONYMOUS: 'true', ALLOWED_HOSTS: 'api' };
  const { get } = await apiRig(t, { env });
  for (const host of ['api:8080', 'localhost', '10.0.0.1:8080', '[fd00::1]:8080'])
    assert.equal((await get('/health/live', { host })).statusCode, 200, host);
  for (const host of ['evil.com', 'api.evil.com', '10.0.0.1.evil.com'])
    assertError(await get('/health/live', { host }), 403, 'forbidden_host', /ALLOWED_HOSTS/, 'host');
});

test('a page of another origin cannot change anything, with or without a body', async (t) => {
  const { request } = await apiRig(t);
  const calls = [
    { url: '/jobs/abc/cancel', headers: {} },
    { url: '/embeddings', headers: { 'content-type': 'application/json' }, payload: '{"input":"a"}' },
  ];
  for (const { headers, ...call } of calls) {
    for (const origin of ['https://evil.com', 'null', 'http://localhost:3000']) {
      const response = await request({
        method: 'POST',
        ...call,
        headers: { ...headers, origin, host: 'localhost:8080' },
      });
      assertError(response, 403, 'forbidden', /another origin/, 'origin');
    }
  }
  const own = { 'content-type': 'application/json', origin: 'http://localhost:8080', host: 'localhost:8080' };
  const same = await request({ method: 'POST', url: '/embeddings', payload: '{"input":"a"}', headers: own });
  assert.equal(same.statusCode, 200);
});

test('what a page may send without asking is not taken: text, forms, no type', async (t) => {
  const { request } = await apiRig(t);
  for (const url of ['/jobs', '/embeddings']) {
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
    ]) {
      const response = await request({
        method: 'POST',
        url,
        payload: '{"input":"a"}',
        headers: { 'content-type': type },
      });
      assertError(response, 415, 'unsupported_media_type', /application\/json/, 'content-type');
    }
    const untyped = await request({ method: 'POST', url, payload: Buffer.from('{"input":"a"}') });
    assert.equal(untyped.statusCode, 415, untyped.body);
  }
});

test('security headers are on every answer, and name no other site', async (t) => {
  const { get } = await apiRig(t);
  for (const url of ['/health/live', '/nope', '/docs']) {
    const { headers } = await get(url);
    assert.equal(headers['x-content-type-options'], 'nosniff');
    const policy = String(headers['content-security-policy']);
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /https?:/);
  }
});
