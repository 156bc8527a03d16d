import assert from 'node:assert/strict';
import test from 'node:test';
import { gzipSync } from 'node:zlib';
import { apiRig, assertError } from '../../support/apiRig.ts';
import { line, passages } from '../../support/jobLines.ts';

test('a JSON job: 202 with id, status, links; then its state, exactly', async (t) => {
  const { post, get, jobs } = await apiRig(t);
  const response = await post('/jobs', {
    documents: [{ id: 'a', text: 'one two', payload: { lang: 'en' } }],
    outputs: ['dense', 'sparse', 'colbert'],
    metadata: { batch: 7 },
  });
  assert.equal(response.statusCode, 202, response.body);
  const { id, status, links } = response.json();
  assert.equal(status, 'queued');
  assert.deepEqual(links, {
    self: `/jobs/${id}`,
    results: `/jobs/${id}/results`,
    errors: `/jobs/${id}/errors`,
  });
  assert.equal(response.headers.location, links.self);
  await jobs.drain();
  const job = (await get(links.self)).json();
  assert.equal(job.status, 'completed');
  assert.deepEqual(job.counts, { documents: 1, embedded: 1, written: 0, failed: 0 });
  assert.equal(job.tokens, 4);
  assert.deepEqual(job.outputs, ['dense', 'sparse', 'colbert']);
  assert.equal(job.model.name, 'fake');
  assert.equal(job.model.fingerprint, 'fake-1');
  assert.deepEqual(job.options.metadata, { batch: 7 });
});

test('default outputs are all that the model has but colbert', async (t) => {
  const { postLines, get } = await apiRig(t);
  const { id } = (await postLines('/jobs', line('a'))).json();
  assert.deepEqual((await get(`/jobs/${id}`)).json().outputs, ['dense', 'sparse']);
});

test('a streamed job takes its options from the query, under the same names', async (t) => {
  const { postLines, get } = await apiRig(t);
  const url = '/jobs?outputs=dense,colbert&model=fake&dimensions=2&truncate=false&normalize=false';
  const response = await postLines(url, line('a') + line(2));
  assert.equal(response.statusCode, 202, response.body);
  const job = (await get(response.json().links.self)).json();
  assert.deepEqual(job.outputs, ['dense', 'colbert']);
  assert.deepEqual(job.options, { dimensions: 2, truncate: false, normalize: false });
  assert.equal(job.counts.documents, 2);
});

test('gzip is inflated; what only says so is refused', async (t) => {
  const { postLines, jobs } = await apiRig(t);
  const body = gzipSync(line('a') + line('b'));
  const accepted = await postLines('/jobs', body, { 'content-encoding': 'gzip' });
  assert.equal(accepted.statusCode, 202, accepted.body);
  const { id } = accepted.json();
  assert.equal((await jobs.job(id)).counts.documents, 2);
  const before = jobs.storage.blobs.size;
  const refusal = await postLines('/jobs', line('a'), { 'content-encoding': 'gzip' });
  assertError(refusal, 400, 'invalid_request', /not valid gzip/, 'content-encoding');
  const cut = await postLines('/jobs', body.subarray(0, body.length - 10), { 'content-encoding': 'gzip' });
  assertError(cut, 400, 'invalid_request', /not valid gzip/, 'content-encoding');
  const brotli = await postLines('/jobs', line('a'), { 'content-encoding': 'br' });
  assertError(brotli, 415, 'unsupported_media_type', /"br"/, 'content-encoding');
  assert.equal(jobs.storage.blobs.size, before);
});

test('a gzip bomb is refused by what it inflates to, and the limit is named', async (t) => {
  const { postLines, jobs } = await apiRig(t, {
    env: { MAX_LINE_BYTES: '100000', MAX_JOB_BYTES: '1000000' },
  });
  const headers = { 'content-encoding': 'gzip' };
  const oneLine = gzipSync(Buffer.alloc(50_000_000, 0));
  assertError(
    await postLines('/jobs', oneLine, headers),
    413,
    'body_too_large',
    /100000 bytes.*MAX_LINE_BYTES/,
  );
  const blankLines = gzipSync(Buffer.alloc(50_000_000, '\n'));
  assertError(
    await postLines('/jobs', blankLines, headers),
    413,
    'body_too_large',
    /1000000 bytes.*MAX_JOB_BYTES/,
  );
  const skipping = await postLines('/jobs?onInvalid=skip', oneLine, headers);
  assertError(skipping, 413, 'body_too_large', /1000000 bytes.*MAX_JOB_BYTES/);
  jobs.assertEmpty();
});

test('Idempotency-Key: the same request is answered with the same job, another one refused', async (t) => {
  const { post, postLines } = await apiRig(t);
  const headers = { 'idempotency-key': 'import 7/2026' };
  const first = await post('/jobs?outputs=dense', { documents: [{ id: 'a', text: 'b' }] }, headers);
  assert.equal(first.statusCode, 202, first.body);
  const zipped = gzipSync('{"id": "a", "text": "b"}\n');
  const again = await postLines('/jobs?outputs=dense', zipped, { ...headers, 'content-encoding': 'gzip' });
  assert.equal(again.statusCode, 202, again.body);
  assert.equal(again.json().id, first.json().id);
  const other = await postLines('/jobs?outputs=dense', line('c'), headers);
  assertError(other, 409, 'idempotency_conflict', new RegExp(first.json().id), 'idempotency-key');
  const long = await postLines('/jobs', line('c'), { 'idempotency-key': 'x'.repeat(256) });
  assertError(long, 400, 'invalid_request', /idempotency-key must have at most 255 characters/);
});

test('a query says what a body says: fields, chunking, metadata', async (t) => {
  const { post, postLines, get, jobs } = await apiRig(t);
  const options = {
    fields: { id: '_id', text: ['title', 'text'], payload: ['year'] },
    chunking: { maxTokens: 8, overlap: 2, unit: 'token' },
    metadata: { run: 7 },
    weight: 2.5,
    priority: 'high',
    onInvalid: 'skip',
    prompt: 'passage: ',
  };
  const record = { _id: 'a', title: 'A', text: 'b', year: 1, more: 2 };
  const posted = await post('/jobs', { documents: [record, {}], ...options });
  const query = new URLSearchParams({
    'fields.id': '_id',
    'fields.text': 'title,text',
    'fields.payload': 'year',
    'chunking.maxTokens': '8',
    'chunking.overlap': '2',
    'chunking.unit': 'token',
    metadata: '{"run":7}',
    weight: '2.5',
    priority: 'high',
    onInvalid: 'skip',
    prompt: 'passage: ',
  });
  const streamed = await postLines(`/jobs?${query}`, `${JSON.stringify(record)}\n{}\n`);
  for (const response of [posted, streamed]) {
    assert.equal(response.statusCode, 202, response.body);
    const { id, links } = response.json();
    const job = (await get(links.self)).json();
    const { fields: _fields, onInvalid: _onInvalid, ...kept } = options;
    assert.deepEqual(job.options, { ...kept, normalize: true, truncate: true });
    assert.equal(job.skipped, 1);
    assert.match(job.errors[0].param, /^(line 2|documents\[1\])$/);
    assert.deepEqual(
      (await get(links.errors)).body
        .trim()
        .split('\n')
        .map((text) => JSON.parse(text)),
      job.errors,
    );
    const [shard] = await jobs.ledger.readShards(id, 0, 1);
    assert.deepEqual(JSON.parse(String(jobs.storage.blobs.get(shard!.inputKey)!.body)), {
      id: 'a',
      text: 'A\nb',
      payload: { year: 1 },
    });
  }
  const cases: [string, string, RegExp][] = [
    ['chunking.overlap=2', 'chunking.maxTokens', /required/],
    ['metadata=[1]', 'metadata', /must be a JSON object/],
    ['chunking.unit=word&chunking.maxTokens=8', 'chunking.unit', /sentence, token/],
    ['weight=1000', 'weight', /at most 100/],
    ['priority=urgent', 'priority', /low, normal, high/],
  ];
  for (const [bad, param, message] of cases)
    assertError(await postLines(`/jobs?${bad}`, line('a')), 400, 'invalid_request', message, param);
});

test('dryRun answers 200 with an estimate; a source is named in the body', async (t) => {
  const { post, postLines, jobs } = await apiRig(t);
  const dry = await postLines('/jobs?dryRun=true', `${line('a')}${line('b')}{}\n`);
  assert.equal(dry.statusCode, 200, dry.body);
  const { documents, accepted, refused } = dry.json();
  assert.deepEqual([documents, accepted, refused.total], [2, false, 1]);
  jobs.assertEmpty();
  await jobs.storage.put('imports/anonymous/a.ndjson', Buffer.from(line('a')));
  const accepted202 = await post('/jobs', { source: { object: 'a.ndjson' } });
  assert.equal(accepted202.statusCode, 202, accepted202.body);
  assert.equal((await jobs.job(accepted202.json().id)).counts.documents, 1);
  const both = await post('/jobs', { source: { object: 'a.ndjson' }, documents: passages(1) });
  assertError(both, 400, 'invalid_request', /not both/, 'source');
  const two = await post('/jobs', { source: { object: 'a.ndjson', file: 'b' } });
  assertError(two, 400, 'invalid_request', /is not a field here/);
});

test('where there is no room, 429 comes before the body is read', async (t) => {
  const { postLines, app, jobs } = await apiRig(t);
  jobs.deps.config.maxOpenJobs = 1;
  assert.equal((await postLines('/jobs', line('a'))).statusCode, 202);
  const refused = await postLines('/jobs', line('b'));
  assertError(refused, 429, 'overloaded', /MAX_OPEN_JOBS/);
  assert.equal(refused.headers['retry-after'], '30');
  const address = await app.listen({ host: '127.0.0.1', port: 0 });
  const neverEnding = new ReadableStream({
    async pull(controller) {
      controller.enqueue(Buffer.from('never read'));
      await new Promise((resolve) => setTimeout(resolve, 5));
    },
  });
  const response = await fetch(`${address}/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body: neverEnding,
    duplex: 'half',
  } as RequestInit);
  assert.equal(response.status, 429);
});

test('options are given once: in the body or in the query', async (t) => {
  const { post, get } = await apiRig(t);
  const documents = [{ id: 'a', text: 'b' }];
  const response = await post('/jobs?outputs=sparse', { documents });
  assert.deepEqual((await get(response.json().links.self)).json().outputs, ['sparse']);
  const twice = await post('/jobs?outputs=sparse', { documents, outputs: ['dense'] });
  assertError(twice, 400, 'invalid_request', /outputs is given in the body and in the query/, 'outputs');
});
