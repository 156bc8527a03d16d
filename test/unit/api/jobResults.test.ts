import assert from 'node:assert/strict';
import test from 'node:test';
import { tableFromIPC } from 'apache-arrow';
import { apiRig, assertError } from '../../support/apiRig.ts';
import { POISON } from '../../support/fakeEngine.ts';
import { passages } from '../../support/jobLines.ts';

test('results: NDJSON in input order, by pages; Arrow with the same numbers', async (t) => {
  const { post, get, jobs } = await apiRig(t);
  const { id } = (await post('/jobs', { documents: passages(10), outputs: ['dense', 'colbert'] })).json();
  await jobs.drain();
  const all = await get(`/jobs/${id}/results`);
  assert.equal(all.headers['content-type'], 'application/x-ndjson');
  assert.equal(all.headers['x-rows'], '10');
  assert.equal(all.headers['x-next-cursor'], undefined);
  const rows = all.body
    .trimEnd()
    .split('\n')
    .map((row) => JSON.parse(row));
  assert.deepEqual(
    rows.map((row) => row.id),
    passages(10).map((document) => document.id),
  );
  assert.deepEqual(Object.keys(rows[0]), ['id', 'chunk', 'tokens', 'dense', 'colbert']);

  let cursor: string | undefined;
  let paged = '';
  do {
    const page = await get(`/jobs/${id}/results?limit=3${cursor === undefined ? '' : `&cursor=${cursor}`}`);
    assert.equal(page.statusCode, 200, page.body);
    paged += page.body;
    cursor = page.headers['x-next-cursor'] as string | undefined;
  } while (cursor !== undefined);
  assert.equal(paged, all.body);

  const type = 'application/vnd.apache.arrow.stream';
  const arrow = await get(`/jobs/${id}/results`, { accept: type });
  assert.equal(arrow.headers['content-type'], type);
  const table = tableFromIPC(arrow.rawPayload);
  assert.equal(table.numRows, 10);
  assert.deepEqual(Float32Array.from(rows[3].dense), Float32Array.from(table.getChild('dense')?.get(3)));
});

test('results of a wrong kind, cursor or limit', async (t) => {
  const { post, get, jobs } = await apiRig(t);
  const { id } = (await post('/jobs', { documents: passages(2) })).json();
  await jobs.drain();
  const pdf = await get(`/jobs/${id}/results`, { accept: 'application/pdf' });
  assertError(pdf, 406, 'not_acceptable', /x-ndjson or application\/vnd\.apache\.arrow\.stream/, 'accept');
  assertError(await get(`/jobs/${id}/results?cursor=zzz`), 400, 'invalid_cursor', /cursor/i);
  assertError(
    await get(`/jobs/${id}/results?limit=0`),
    400,
    'invalid_request',
    /limit must be at least 1/,
    'limit',
  );
});

test('failed documents are listed as NDJSON', async (t) => {
  const { post, get, jobs } = await apiRig(t);
  const documents = [
    { id: 'good', text: 'a' },
    { id: 'bad', text: POISON },
  ];
  const { id } = (await post('/jobs', { documents })).json();
  await jobs.drain();
  const response = await get(`/jobs/${id}/errors`);
  assert.equal(response.headers['content-type'], 'application/x-ndjson');
  const lines = response.body
    .trimEnd()
    .split('\n')
    .map((row) => JSON.parse(row));
  assert.deepEqual(
    lines.map(({ id: failed, code }) => [failed, code]),
    [['bad', 'model_failed']],
  );
});
