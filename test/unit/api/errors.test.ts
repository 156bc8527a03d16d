import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Writable } from 'node:stream';
import test from 'node:test';
import { TrivecError } from '@trivec/core/errors';
import { createLogger } from '@trivec/core/telemetry/logger';
import { apiRig, assertError } from '../../support/apiRig.ts';

test('every answer carries a request id; a sane one of the client is kept', async (t) => {
  const { get } = await apiRig(t);
  const own = await get('/health/live');
  assert.match(String(own.headers['x-request-id']), /^[0-9a-f-]{36}$/);
  const given = await get('/health/live', { 'x-request-id': 'abc.1:2-3_4' });
  assert.equal(given.headers['x-request-id'], 'abc.1:2-3_4');
  for (const bad of ['a b', 'x'.repeat(129), '<script>', '']) {
    const replaced = await get('/nope', { 'x-request-id': bad });
    assert.match(String(replaced.headers['x-request-id']), /^[0-9a-f-]{36}$/);
    assertError(replaced, 404, 'not_found', /no such path/, null);
  }
});

test('a wrong method is told apart from a wrong path', async (t) => {
  const { request } = await apiRig(t);
  const response = await request({ method: 'PUT', url: '/jobs/abc' });
  assertError(
    response,
    405,
    'method_not_allowed',
    /PUT is not a method of this path; it has DELETE, GET, HEAD/,
  );
  assert.equal(response.headers.allow, 'DELETE, GET, HEAD');
  assertError(await request({ method: 'PUT', url: '/jobsabc' }), 404, 'not_found', /no such path/);
});

test('a malformed URL has the shape of every error', async (t) => {
  const { get } = await apiRig(t);
  assertError(await get('/%'), 400, 'invalid_request', /not a valid URL/);
  assertError(await get(`/jobs/${'a'.repeat(500)}`), 404, 'not_found', /too long/, null);
});

test('a fault inside is a 500 that says only where to look, and the log has the reason', async (t) => {
  const lines: string[] = [];
  const logger = createLogger(
    { logLevel: 'info' },
    new Writable({ write: (chunk, _encoding, done) => done(void lines.push(String(chunk))) }),
  );
  const { get, app } = await apiRig(t, { deps: { logger } });
  app.log.info('ready');
  const broken = await apiRig(t, {
    deps: { logger, jobs: { list: () => Promise.reject(new Error('secret path /srv/x')) } as never },
  });
  const response = await broken.get('/jobs');
  assertError(response, 500, 'internal', /its log has the reason/, null);
  assert.ok(!response.body.includes('secret'));
  const id = response.json().error.requestId;
  assert.ok(lines.some((line) => line.includes(id) && line.includes('secret path')));
  assert.equal((await get('/health/live')).statusCode, 200);
});

test('an error that may heal says when to come back', async (t) => {
  const failure = new TrivecError('backend_unavailable', 'Redis does not answer.', { retryAfterSeconds: 3 });
  const { get } = await apiRig(t, { deps: { jobs: { list: () => Promise.reject(failure) } as never } });
  const response = await get('/jobs');
  assertError(response, 503, 'backend_unavailable', /Redis does not answer/);
  assert.equal(response.headers['retry-after'], '3');
});

test('the log has the reason of what is away outside, of other refusals the code alone', async (t) => {
  const lines: string[] = [];
  const logger = createLogger(
    { logLevel: 'warn' },
    new Writable({ write: (chunk, _encoding, done) => done(void lines.push(String(chunk))) }),
  );
  const away = ['sink_unavailable', 'model_unavailable'] as const;
  for (const code of away) {
    const jobs = { list: () => Promise.reject(new TrivecError(code, 'It is away.')) } as never;
    const { get } = await apiRig(t, { deps: { logger, jobs } });
    assert.equal((await get('/jobs')).statusCode, 503);
  }
  const logged = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(
    logged.map(({ code, message }) => [code, message]),
    [
      ['sink_unavailable', 'It is away.'],
      ['model_unavailable', undefined],
    ],
  );
});

test('requests are logged by method, route and status; no text, id or query reaches a log', async (t) => {
  const lines: string[] = [];
  const logger = createLogger(
    { logLevel: 'trace' },
    new Writable({ write: (chunk, _encoding, done) => done(void lines.push(String(chunk))) }),
  );
  const { post, postLines, get } = await apiRig(t, { deps: { logger } });
  await post('/embeddings', { input: 'SECRETWORD' }, { authorization: 'Bearer SECRETWORD' });
  await post('/embeddings', { input: ['SECRETWORD', 1] });
  await post('/embeddings?SECRETWORD=1', '{"input": SECRETWORD}', { 'content-type': 'application/json' });
  await postLines('/jobs', '{"id":"SECRETWORD","text":"SECRETWORD"}\n{"id":1,"text":SECRETWORD}\n');
  await get('/SECRETWORD?cursor=SECRETWORD');
  // The log line is written after the answer is out.
  await new Promise((resolve) => setImmediate(resolve));
  const log = lines.join('');
  assert.match(log, /"method":"POST","route":"\/embeddings","status":200,"ms":\d+/);
  assert.ok(!log.includes('SECRETWORD'), log);
});

test('what is not HTTP is answered in the same shape, over a real socket', async (t) => {
  const { app } = await apiRig(t);
  await app.listen({ host: '127.0.0.1', port: 0 });
  const address = app.server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const socket = connect(address.port, '127.0.0.1');
  let answer = '';
  socket.on('data', (chunk) => {
    answer += chunk;
  });
  socket.write('NOT HTTP\r\n\r\n');
  await once(socket, 'close');
  assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/);
  const { error } = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')));
  assert.equal(error.code, 'invalid_request');
  assert.match(answer, new RegExp(`x-request-id: ${error.requestId}`));
});

test('a closing server ends what is in flight and refuses what comes', async (t) => {
  const held = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  const list = async () => {
    arrived.resolve();
    await held.promise;
    return { jobs: [] };
  };
  const { app } = await apiRig(t, { deps: { jobs: { list } as never } });
  const address = await app.listen({ host: '127.0.0.1', port: 0 });
  let connections = 0;
  app.server.on('connection', () => connections++);
  const open = () => {
    const socket = connect(Number(new URL(address).port), '127.0.0.1').setEncoding('utf8');
    return { socket, answer: socket.toArray().then((chunks) => chunks.join('')) };
  };
  const inFlight = open();
  const late = open();
  // Half a request: its connection is not idle, so that closing leaves it open.
  late.socket.write('GET /health/live HTTP/1.1\r\n');
  inFlight.socket.write('GET /jobs HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await arrived.promise;
  // A connection that the server has not taken yet is reset when it closes.
  while (connections < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  const closed = app.close();
  while (!app.isDraining()) await new Promise(setImmediate);
  late.socket.write('Host: localhost\r\n\r\n');
  const refused = await late.answer;
  assert.match(refused, /^HTTP\/1\.1 503 /);
  assert.match(refused, /"code":"shutting_down"/);
  assert.match(refused, /retry-after: 5/);
  held.resolve();
  assert.match(await inFlight.answer, /^HTTP\/1\.1 200 OK/);
  await closed;
});

test('a wrong method is told apart from a wrong path on every surface, with what there is', async (t) => {
  const { request } = await apiRig(t);
  for (const [url, method, allow] of [
    ['/v1/embeddings:both', 'GET', 'POST'],
    ['/tei/embed', 'GET', 'POST'],
    ['/tei/health', 'DELETE', 'GET, HEAD'],
    ['/infinity/embeddings', 'PUT', 'POST'],
    ['/smart-embedder/embeddings/', 'GET', 'POST'],
  ] as const) {
    const response = await request({ method, url });
    assert.deepEqual([response.statusCode, response.headers.allow], [405, allow], url);
    assert.match(response.body, new RegExp(`${method} is not a method of this path`));
    assert.equal((await request({ method, url: `${url}x` })).statusCode, 404);
  }
});
