import assert from 'node:assert/strict';
import test from 'node:test';
import { TrivecError } from '@trivec/core/errors';
import { apiRig, assertError } from '../../support/apiRig.ts';
import { passages } from '../../support/jobLines.ts';

test('jobs are listed newest first, by cursor', async (t) => {
  const { post, get } = await apiRig(t);
  const ids: string[] = [];
  for (let index = 0; index < 3; index++)
    ids.unshift((await post('/jobs', { documents: passages(1) })).json().id);
  const first = (await get('/jobs?limit=2')).json();
  const second = (await get(`/jobs?limit=2&cursor=${first.nextCursor}`)).json();
  assert.deepEqual(
    [...first.jobs, ...second.jobs].map(({ id }: { id: string }) => id),
    ids,
  );
  assert.equal(second.nextCursor, null);
  assertError(await get('/jobs?limit=0'), 400, 'invalid_request', /limit must be at least 1/, 'limit');
  assertError(await get('/jobs?limit=101'), 400, 'invalid_request', /limit must be at most 100/, 'limit');
});

test('cancel, pause, resume and delete', async (t) => {
  const { post, get, request, jobs } = await apiRig(t);
  const { id } = (await post('/jobs', { documents: passages(10) })).json();
  const act = (action: string) => request({ method: 'POST', url: `/jobs/${id}/${action}` });
  assert.equal((await act('pause')).json().status, 'paused');
  assert.match((await act('resume')).json().status, /queued|running/);
  assert.equal((await act('cancel')).json().status, 'cancelled');
  assertError(await act('resume'), 409, 'job_conflict', /cancelled/);
  const deleted = await request({ method: 'DELETE', url: `/jobs/${id}` });
  assert.equal(deleted.statusCode, 204);
  assert.equal(deleted.body, '');
  jobs.assertEmpty();
  assertError(await get(`/jobs/${id}`), 404, 'job_not_found', new RegExp(id));
});

test('what was done with a job is answered, also where the list of workers can not be read', async (t) => {
  const { post, request, state } = await apiRig(t);
  const { id } = (await post('/jobs', { documents: passages(10) })).json();
  Object.defineProperty(state, 'workers', {
    get: () => {
      throw new TrivecError('backend_unavailable', 'away');
    },
  });
  for (const [action, status] of [
    ['pause', 'paused'],
    ['pause', 'paused'],
    ['resume', 'queued'],
    ['resume', 'queued'],
    ['cancel', 'cancelled'],
    ['cancel', 'cancelled'],
  ]) {
    const response = await request({ method: 'POST', url: `/jobs/${id}/${action}` });
    assert.deepEqual([response.statusCode, response.json().status], [200, status]);
  }
});

test('a job that is not there is 404 on every path', async (t) => {
  const { get, request, post } = await apiRig(t);
  const id = 'nosuchjob';
  for (const url of [`/jobs/${id}`, `/jobs/${id}/results`, `/jobs/${id}/errors`])
    assertError(await get(url), 404, 'job_not_found', /nosuchjob/);
  for (const action of ['cancel', 'pause', 'resume'])
    assertError(
      await request({ method: 'POST', url: `/jobs/${id}/${action}` }),
      404,
      'job_not_found',
      /nosuchjob/,
    );
  assertError(await request({ method: 'DELETE', url: `/jobs/${id}` }), 404, 'job_not_found', /nosuchjob/);
  assertError(await post(`/jobs/${id}/search`, { query: 'a' }), 404, 'job_not_found', /nosuchjob/);
});
