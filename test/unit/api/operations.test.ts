import assert from 'node:assert/strict';
import test from 'node:test';
import { TrivecError } from '@trivec/core/errors';
import type { InjectOptions, LightMyRequestResponse } from 'fastify';
import { announcement, apiRig, assertError } from '../../support/apiRig.ts';
import { FAKE_MODEL } from '../../support/fakeEngine.ts';

test('live always; ready only with a worker of the configured model', async (t) => {
  const { get, state } = await apiRig(t);
  for (const url of ['/health', '/health/ready'])
    assert.deepEqual((await get(url)).json(), { status: 'ready', model: 'fake', workers: 1 });
  state.workers = [announcement({ ...FAKE_MODEL, name: 'other', fingerprint: 'other-1' })];
  for (const url of ['/health', '/health/ready'])
    assertError(await get(url), 503, 'model_unavailable', /No worker serves the model fake/);
  assert.deepEqual((await get('/health/live')).json(), { status: 'ok' });
});

test('the root says what this is, without a key, and every path that it names is there; a browser sees the docs', async (t) => {
  const { get, request } = await apiRig(t, { env: { API_KEYS: 'anna=a-key-of-sixteen-and-more' } });
  const { name, version, ...paths } = (await get('/')).json();
  const documented = Object.keys((await get('/openapi.json')).json().paths);
  assert.equal(name, 'trivec');
  assert.match(version, /^\d/);
  for (const path of Object.values<string>(paths))
    assert.ok(documented.includes(path) || (await get(path)).statusCode === 200, path);
  for (const accept of ['*/*', 'application/json'])
    assert.equal((await request({ method: 'GET', url: '/', headers: { accept } })).statusCode, 200);
  const accept = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
  const page = await request({ method: 'GET', url: '/', headers: { accept } });
  assert.deepEqual([page.statusCode, page.headers.location], [302, '/docs']);
});

test('a backend that does not answer is not ready', async (t) => {
  const rig = await apiRig(t);
  const { get } = await apiRig(t, {
    deps: {
      backend: {
        kind: 'redis',
        ping: () => Promise.reject(new TrivecError('backend_unavailable', 'Redis does not answer.')),
        registry: { list: async () => rig.state.workers } as never,
        interactive: {} as never,
      },
    },
  });
  assertError(await get('/health/ready'), 503, 'backend_unavailable', /Redis does not answer/);
});

test('a Redis that has frozen: not ready within two seconds, 503 for all else, and asked once', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const rig = await apiRig(t);
  let pings = 0;
  const { app } = await apiRig(t, {
    deps: {
      backend: {
        kind: 'redis',
        ping: () => {
          pings++;
          return new Promise(() => {});
        },
        registry: { list: async () => rig.state.workers } as never,
        interactive: {} as never,
      },
    },
  });
  /** Lets the clock run until all are answered. */
  async function answers(...calls: InjectOptions[]): Promise<LightMyRequestResponse[]> {
    let settled = false;
    const all = Promise.all(calls.map((call) => app.inject(call))).finally(() => {
      settled = true;
    });
    while (!settled) {
      t.mock.timers.tick(500);
      await new Promise(setImmediate);
    }
    return all;
  }
  for (const response of await answers({ url: '/health/ready' }, { url: '/tei/health' })) {
    assert.equal(response.statusCode, 503);
    assert.match(response.body, /not answered for 2 s/);
  }
  const embed = { method: 'POST', url: '/embeddings', payload: { input: 'a' } } as const;
  for (const response of await answers({ url: '/jobs' }, embed)) {
    assertError(response, 503, 'backend_unavailable', /not answered for 5 s/);
    assert.equal(response.headers['retry-after'], '2');
  }
  for (const response of await answers({ url: '/metrics' }, { url: '/infinity/metrics' }))
    assert.equal(response.statusCode, 200);
  for (const response of await answers({ url: '/tei/metrics' }, { url: '/smart-embedder/metrics' }))
    assert.equal(response.statusCode, 503);
  assert.equal((await app.inject('/health/live')).statusCode, 200);
  assert.equal(pings, 1);
});

test('models: one entry a name, the default first, as OpenAI lists them and more', async (t) => {
  const other = { ...FAKE_MODEL, name: 'alpha', fingerprint: 'alpha-1' };
  const { get } = await apiRig(t, {
    workers: [
      announcement(other),
      announcement(FAKE_MODEL, { device: 'cuda:0', startedAtMs: 5000 }),
      announcement(FAKE_MODEL, { workerId: 'w2', startedAtMs: 3000 }),
    ],
  });
  for (const url of ['/models', '/v1/models']) {
    const { object, data } = (await get(url)).json();
    assert.equal(object, 'list');
    assert.deepEqual(
      data.map(({ id, default: isDefault, workers }: { id: string; default: boolean; workers: number }) => [
        id,
        isDefault,
        workers,
      ]),
      [
        ['fake', true, 2],
        ['alpha', false, 1],
      ],
    );
    assert.equal(data[0].created, 3);
    assert.deepEqual(data[0].devices, ['cuda:0', 'cpu']);
  }
});

test('a model by the name that a client has fixed, and one model alone as OpenAI gives it', async (t) => {
  const env = { MODEL_ALIASES: 'text-embedding-3-small=fake,gone=nowhere,fake=nowhere' };
  const { get, post } = await apiRig(t, { env });
  for (const url of ['/embeddings', '/v1/embeddings', '/infinity/embeddings']) {
    const answer = await post(url, { input: 'a', model: 'text-embedding-3-small' });
    assert.equal(answer.json().model, 'fake', answer.body);
    assert.equal((await post(url, { input: 'a', model: 'fake' })).statusCode, 200);
  }
  assertError(
    await post('/embeddings', { input: 'a', model: 'gone' }),
    404,
    'unknown_model',
    /no model "nowhere"/,
  );
  assert.equal((await get('/v1/models/text-embedding-3-small')).json().id, 'fake');
  const unknown = await get('/v1/models/BAAI%2Fnope');
  assert.deepEqual([unknown.statusCode, unknown.json().error.code], [404, 'model_not_found']);
  const endless = await get(`/v1/models/${'a'.repeat(300)}`);
  assert.deepEqual([endless.statusCode, endless.json().error.code], [404, 'not_found']);
  const unnamed = await post('/infinity/embeddings', { input: 'a', model: 'default/not-specified' });
  assert.equal(unnamed.statusCode, 200);
});

test('info names version, backend, storage and limits', async (t) => {
  const { get } = await apiRig(t, { env: { MAX_INPUTS: '7' } });
  const info = (await get('/info')).json();
  assert.equal(info.backend, 'embedded');
  assert.equal(info.storage, 'memory');
  assert.deepEqual(info.models, ['fake']);
  assert.equal(info.limits.maxInputs, 7);
  assert.deepEqual(info.engines, [
    {
      model: 'fake',
      device: 'cpu',
      maxBatchTokens: 64,
      budgetFrom: 'cached',
      cost: { fixedMs: 1, msPerToken: 0.5, msPerPair: 0 },
      tokensPerSecond: 0,
    },
  ]);
});

test('metrics count requests by route and status, jobs, documents, texts and tokens', async (t) => {
  const { get, post } = await apiRig(t);
  await post('/embeddings', { input: ['a b', 'c'] });
  await post('/embeddings', { input: [] });
  await post('/jobs', {
    documents: [
      { id: 1, text: 'a' },
      { id: 2, text: 'b' },
    ],
  });
  await get('/jobs/abc');
  const { body, headers } = await get('/metrics');
  assert.match(String(headers['content-type']), /^text\/plain; version=0\.0\.4/);
  const value = (series: string) => {
    const found = body.split('\n').find((row) => row.startsWith(`${series} `));
    return found === undefined ? undefined : Number(found.split(' ').at(-1));
  };
  const requests = (method: string, route: string, status: number) =>
    value(
      `trivec_http_request_duration_seconds_count{method="${method}",route="${route}",status="${status}"}`,
    );
  assert.equal(requests('POST', '/embeddings', 200), 1);
  assert.equal(requests('POST', '/embeddings', 400), 1);
  assert.equal(requests('GET', '/jobs/:id', 404), 1);
  assert.equal(value('trivec_request_texts_total{model="fake"}'), 2);
  assert.equal(value('trivec_request_tokens_total{model="fake"}'), 7);
  assert.equal(value('trivec_jobs_submitted_total{model="fake"}'), 1);
  assert.equal(value('trivec_documents_submitted_total{model="fake"}'), 2);
  assert.equal(value('trivec_workers{model="fake"}'), 1);
});

test('metrics answer while the backend does not', async (t) => {
  const { get } = await apiRig(t, {
    deps: {
      backend: {
        kind: 'redis',
        ping: async () => {},
        registry: { list: () => Promise.reject(new Error('down')) } as never,
        interactive: {} as never,
      },
    },
  });
  assert.equal((await get('/metrics')).statusCode, 200);
});

test('the docs page loads from this server only, and all that it loads is there', async (t) => {
  const { get } = await apiRig(t);
  const page = await get('/docs/');
  assert.equal(page.statusCode, 200);
  const links = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] ?? '');
  assert.ok(links.length >= 4);
  for (const link of links) {
    assert.match(link, /^\.\/static\//);
    assert.equal((await get(`/docs/${link.slice(2)}`)).statusCode, 200, link);
  }
  assert.match((await get('/docs/json')).body, /"openapi":"3\.1\.0"/);
});

test('what is not there is 404, and another method 405, whatever else is wrong with the request', async (t) => {
  const { get, request } = await apiRig(t);
  for (const path of ['/docs/static/nothing.js', '/docs/static/..%2f..%2fpackage.json'])
    assertError(await get(path), 404, 'not_found', /no such path/);
  // The framework wants a type of whoever asks by QUERY, and a body within the limit.
  const query = await request({ method: 'QUERY' as 'GET', url: '/jobs' });
  assertError(query, 405, 'method_not_allowed', /it has GET, HEAD, POST/);
  const large = { method: 'POST', url: '/nope', payload: Buffer.alloc(20 * 1024 ** 2, ' ') } as const;
  const headers = { 'content-type': 'application/json' };
  assertError(await request({ ...large, headers }), 404, 'not_found', /no such path/);
});

test('the OpenAPI document has a schema for every status', async (t) => {
  const { get } = await apiRig(t);
  const document = (await get('/openapi.json')).json();
  for (const [path, methods] of Object.entries<
    Record<string, { responses: Record<string, { description: string; content?: object }> }>
  >(document.paths)) {
    for (const [method, { responses }] of Object.entries(methods)) {
      for (const [status, response] of Object.entries(responses)) {
        const isEmpty = status === '204' || /^(Empty|Without a body)\./.test(response.description);
        assert.ok(isEmpty || response.content !== undefined, `${method} ${path} ${status}`);
      }
    }
  }
});
