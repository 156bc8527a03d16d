import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import test from 'node:test';
import { checkAddress } from '@trivec/api/address';
import { trustedProxies } from '@trivec/api/trustedProxies';
import { loadConfig } from '@trivec/core/config';
import { apiRig, assertError } from '../../support/apiRig.ts';

/** Mistakes of clients and operators that are easily made, and what each is told. */

test('a fraction where the query takes an integer is refused, not cut off', async (t) => {
  const { postLines, get } = await apiRig(t);
  const response = await postLines('/jobs?dimensions=1.5', '{"id":"a","text":"b"}\n');
  assertError(response, 400, 'invalid_request', /dimensions must be an integer/, 'dimensions');
  assertError(await get('/jobs?limit=1.5'), 400, 'invalid_request', /limit must be an integer/, 'limit');
  for (const odd of ['true', '', '%20', 'two', '1e400'])
    assertError(await get(`/jobs?limit=${odd}`), 400, 'invalid_request', /limit must be an integer/, 'limit');
  assert.equal((await get('/jobs?limit=2')).statusCode, 200);
});

test('a body that is not JSON says where, one with a forbidden name says so', async (t) => {
  const { request } = await apiRig(t);
  const post = (payload: string) =>
    request({ method: 'POST', url: '/jobs', payload, headers: { 'content-type': 'application/json' } });
  assertError(await post('{"model" 1}'), 400, 'invalid_json', /at character 10/, null);
  assertError(await post('{"documents": ['), 400, 'invalid_json', /not valid JSON/, null);
  assertError(await post('{"__proto__": {"model": "x"}}'), 400, 'invalid_json', /__proto__/, null);
});

test('a job without a body, an id with a NUL and a wrong destination are told apart', async (t) => {
  const { request, get, post } = await apiRig(t);
  assertError(
    await request({ method: 'POST', url: '/jobs' }),
    400,
    'no_documents',
    /has no body/,
    'documents',
  );
  assertError(await get('/jobs/a%00b'), 404, 'job_not_found', /no job/, null);
  const destination = { type: 'pgvector', collection: 'c' };
  const wrong = await post('/jobs', { documents: [{ id: 1, text: 'a' }], destination });
  assertError(wrong, 400, 'invalid_request', /must be "qdrant"/, 'destination.type');
});

test('a collection whose name would be a step in a path is refused; dots and other scripts in it are not', async (t) => {
  const { post } = await apiRig(t);
  for (const collection of ['.', '..', 'a/b', '.\n', '../']) {
    const search = await post('/search', { query: 'a', collection });
    assertError(search, 400, 'invalid_request', /match pattern|cannot be used/, 'collection');
    const destination = { type: 'qdrant', collection };
    const job = await post('/jobs', { documents: [{ id: 1, text: 'a' }], destination });
    assertError(job, 400, 'invalid_request', /match pattern|cannot be used/, 'destination.collection');
  }
  for (const collection of ['...', '.a', '..a', 'a', 'a.', '文書', '💥'])
    assertError(await post('/search', { query: 'a', collection }), 400, 'invalid_request', /no Qdrant/);
});

test('a stop does not wait for an upload: it ends with 503, and nothing is left', async (t) => {
  const { app, jobs } = await apiRig(t, {
    env: { SHUTDOWN_TIMEOUT_MS: '20000', BODY_IDLE_TIMEOUT_MS: '20000' },
  });
  const port = Number(new URL(await app.listen({ host: '127.0.0.1', port: 0 })).port);
  const sender = connect(port, '127.0.0.1').setEncoding('utf8');
  sender.on('error', () => {});
  sender.write(
    'POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: 9999\r\n\r\n' +
      '{"id":"a","text":"b"}\n',
  );
  const answered = once(sender, 'data');
  // A connection that the server has not taken yet would only be reset by its stop.
  await once(app.server, 'request');
  const closed = app.close();
  const [answer] = await answered;
  assert.match(answer, /^HTTP\/1\.1 503 /);
  assert.match(answer, /shutting_down.*no job was made/);
  await closed;
  assert.deepEqual(await Array.fromAsync(jobs.storage.list('')), []);
});

test('a port that is taken and a proxy that is none end the start with one clear line', async (t) => {
  const other = createServer().listen(0, '127.0.0.1');
  t.after(() => other.close());
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  await assert.rejects(checkAddress({ host: '127.0.0.1', port }), {
    code: 'invalid_config',
    message: `PORT: ${port} of 127.0.0.1 is taken by another process. Stop it, or choose another PORT (0 takes a free one).`,
  });
  const { app } = await apiRig(t);
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  await assert.rejects(checkAddress({ host: '127.0.0.1', port: Number(new URL(url).port) }), {
    code: 'invalid_config',
    message: `PORT: a trivec server runs at ${url} already. Use it, stop it, or choose another PORT (0 takes a free one).`,
  });
  for (const TRUSTED_PROXIES of ['10.0.0.0/99', 'fe:dc', '1.2.3'])
    assert.throws(() => trustedProxies(loadConfig({ TRUSTED_PROXIES })), {
      code: 'invalid_config',
      message: `TRUSTED_PROXIES: "${TRUSTED_PROXIES}" is neither an address nor a network such as 10.0.0.0/8.`,
    });
  assert.deepEqual(trustedProxies(loadConfig({ TRUSTED_PROXIES: '10.0.0.0/8, ::1' })), ['10.0.0.0/8', '::1']);
});

test('a malformed option is told what it takes, and a secret one is not repeated', () => {
  assert.throws(
    () => loadConfig({ API_KEYS: 'abcsecret' }),
    /^TrivecError: API_KEYS: the given value is malformed\. Keys .*`name=key`/,
  );
  assert.throws(() => loadConfig({ DEVICE: 'gpu' }), /DEVICE: "gpu" is malformed\. .*auto .*cpu/);
  assert.throws(
    () => loadConfig({ QDRANT_URL: 'localhost:6333' }),
    /QDRANT_URL: "localhost:6333" lacks http:\/\/ or https:\/\/ in front\. The Qdrant server/,
  );
  assert.throws(() => loadConfig({ QDRANT_URL: 'http://u@h' }), /QDRANT_URL: "http:\/\/u@h" is malformed\./);
  assert.throws(() => loadConfig({ PORT: '80a' }), /PORT: "80a" is not an integer from 0 to 65535\./);
});

test('a relative STORAGE_URL is refused: as a URL it would be a folder of the root', () => {
  assert.throws(() => loadConfig({ STORAGE_URL: 'file:relative' }), { code: 'invalid_config' });
  assert.equal(loadConfig({ STORAGE_URL: 'file:///srv/x' }).storageUrl, 'file:///srv/x');
});
