import assert from 'node:assert/strict';
import test from 'node:test';
import { SURFACES, type Surface } from '@trivec/api/surfaces';
import { apiRig } from '../../support/apiRig.ts';

const documented = Object.values<Surface>(SURFACES).flatMap(({ prefix, routes }) =>
  Object.keys(routes).map((route) => route.replace(' ', ` ${prefix}`)),
);

test('the table of surfaces and the OpenAPI document name the same routes, each once', async (t) => {
  const { get } = await apiRig(t);
  const { paths } = (await get('/openapi.json')).json();
  const routes = Object.entries<object>(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  assert.deepEqual(routes.sort(), [...documented].sort());
  assert.equal(new Set(documented).size, documented.length);
});

test('every route of the table is there, and says what is wrong in the words of its surface', async (t) => {
  const { request } = await apiRig(t);
  for (const [name, { prefix, routes }] of Object.entries<Surface>(SURFACES)) {
    for (const route of Object.keys(routes)) {
      const [method = '', path = ''] = route.split(' ');
      const url = (prefix + path).replace('{id}', 'nope');
      const response = await request({
        method: method as 'GET',
        url,
        ...(method === 'POST' && { payload: {} }),
      });
      assert.notEqual(response.statusCode, 405, `${method} ${url}`);
      assert.ok(response.statusCode < 500, `${method} ${url}: ${response.statusCode} ${response.body}`);
      if (method === 'POST')
        assert.ok(response.statusCode >= 400, `${method} ${url}: ${response.statusCode}`);
    }
    if (prefix === '') continue;
    const unknown = await request({ method: 'GET', url: `${prefix}/nope` });
    assert.equal(unknown.statusCode, 404, name);
    assert.ok(!unknown.body.includes('requestId'), `${name}: ${unknown.body}`);
  }
});

test('ROOT_SURFACE answers the paths of a peer at the root, and leaves the others', async (t) => {
  const { app } = await apiRig(t, { env: { ROOT_SURFACE: 'tei' } });
  // Past the check against the document, which says what stands there without this option.
  const post = async (url: string, payload: object) =>
    (await app.inject({ method: 'POST', url, payload })).json();
  const get = (url: string) => app.inject({ method: 'GET', url });
  const vectors = await post('/embed', { inputs: 'a' });
  assert.equal(vectors.length, 1);
  assert.deepEqual(vectors, await post('/tei/embed', { inputs: 'a' }));
  assert.equal((await post('/rerank', { query: 'a', texts: ['b'] }))[0].index, 0);
  assert.equal((await get('/info?x=1')).json().model_id, 'fake');
  assert.equal((await get('/health')).statusCode, 200);
  assert.equal((await get('/health/ready')).json().status, 'ready');
  assert.deepEqual((await get('/jobs')).json().jobs, []);
  const other = await apiRig(t, { env: { ROOT_SURFACE: 'smart-embedder' } });
  const slash = await other.app.inject({
    method: 'POST',
    url: '/embeddings/',
    payload: { sentences: ['a'] },
  });
  assert.equal(slash.json().data[0].text, 'a', slash.body);
});
