import assert from 'node:assert/strict';
import test from 'node:test';
import { apiRig, assertError } from '../../support/apiRig.ts';
import { documents } from '../../support/jobRig.ts';

const secret = `whsec_${Buffer.alloc(32, 9).toString('base64')}`;
const url = 'https://example.org/hook';

test('a webhook is taken from the body, or from headers beside a stream, and its secret is never shown', async (t) => {
  const { get, post, postLines, jobs } = await apiRig(t);
  const line = '{"id":"a","text":"one"}\n';
  const accepted = [
    await post('/jobs', { documents: documents(2), webhook: { url, secret }, retentionMs: 60_000 }),
    await postLines('/jobs?retentionMs=60000', line, { 'x-webhook-url': url, 'x-webhook-secret': secret }),
  ];
  for (const response of accepted) {
    assert.equal(response.statusCode, 202, response.body);
    const { id } = response.json();
    assert.equal((await jobs.job(id)).webhook?.url, url);
    const shown = await get(`/jobs/${id}`);
    assert.deepEqual(shown.json().webhook, { url, state: null, attempts: 0, error: null });
    assert.equal(shown.json().options.retentionMs, 60_000);
    assert.ok(!shown.body.includes(secret.slice(6)));
  }
});

test('webhooks that can not be are refused: private, without their half, with a weak secret', async (t) => {
  const { post, postLines, jobs } = await apiRig(t);
  const body = (webhook: unknown) => ({ documents: documents(1), webhook });
  const private_ = await post('/jobs', body({ url: 'http://127.0.0.1:1/', secret }));
  assertError(private_, 400, 'invalid_request', /ALLOW_PRIVATE_WEBHOOKS/, 'webhook.url');
  const weak = await post('/jobs', body({ url, secret: 'abc' }));
  assertError(weak, 400, 'invalid_request', /24 to 64 bytes/, 'webhook.secret');
  const half = await postLines('/jobs', '{"id":"a","text":"one"}\n', { 'x-webhook-url': url });
  assertError(half, 400, 'invalid_request', /go together/, 'x-webhook-secret');
  jobs.assertEmpty();
});

test('POST /jobs/:id/retry: the failed documents of an ended job', async (t) => {
  const { post, jobs } = await apiRig(t);
  const { id } = await jobs.submit([
    { id: 'a', text: 'poison' },
    { id: 'b', text: 'fine' },
  ]);
  assertError(await post(`/jobs/${id}/retry`, undefined), 409, 'job_conflict', /is queued/);
  await jobs.drain();
  const again = await post(`/jobs/${id}/retry`, undefined);
  assert.equal(again.statusCode, 200, again.body);
  assert.equal(again.json().status, 'running');
  assert.deepEqual(again.json().counts, { documents: 2, embedded: 1, written: 0, failed: 1 });
});
