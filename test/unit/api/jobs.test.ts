import assert from 'node:assert/strict';
import test from 'node:test';
import { gzipSync } from 'node:zlib';
import { tableFromIPC } from 'apache-arrow';
import { apiRig, assertError } from '../../support/apiRig.ts';
import { POISON } from '../../support/fakeEngine.ts';

const line = (id: string | number, text = `text ${id}`) => `${JSON.stringify({ id, text })}\n`;
const passages = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ id: `d${index}`, text: `text ${index}` }));

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

test('bad documents in JSON: each has its code, and its place', async (t) => {
  const { post, jobs } = await apiRig(t);
  const good = { id: 'a', text: 'b' };
  const cases: [unknown, string, RegExp, string?][] = [
    [{}, 'no_documents', /at least one document/],
    [{ documents: [] }, 'no_documents', /at least one document/],
    [
      { documents: [good, { id: 'x' }] },
      'invalid_document',
      /documents\[1\]\.text is missing/,
      'documents[1].text',
    ],
    [
      { documents: [{ id: 'x', text: 3 }] },
      'invalid_document',
      /documents\[0\]\.text must be a string/,
      'documents[0].text',
    ],
    [{ documents: [{ text: 'x' }] }, 'invalid_document', /documents\[0\]\.id is missing/, 'documents[0].id'],
    [{ documents: [good, good] }, 'duplicate_id', /"a"/],
    [
      {
        documents: [
          { id: 42, text: 'x' },
          { id: '42', text: 'y' },
        ],
      },
      'duplicate_id',
      /42/,
    ],
    [
      { documents: [good], outputs: ['dens'] },
      'unknown_output',
      /"dens" .*dense, sparse, colbert/,
      'outputs[0]',
    ],
    [
      { documents: [good], truncat: true },
      'invalid_request',
      /"truncat" is not a field here; there is documents, /,
      'truncat',
    ],
    [{ documents: [good], dimensions: 99 }, 'invalid_request', /dimensions/, 'dimensions'],
    ['nothing', 'invalid_json', /not valid JSON/],
  ];
  for (const [body, code, message, param] of cases) {
    const headers = { 'content-type': 'application/json' };
    assertError(await post('/jobs', body, headers), 400, code, message, param);
  }
  const unknown = await post('/jobs', { documents: [good], model: 'bge' });
  assertError(unknown, 404, 'unknown_model', /"bge"; there is fake/, 'model');
  jobs.assertEmpty();
});

test('bad NDJSON: the message names the line, and nothing is left behind', async (t) => {
  const { postLines, jobs } = await apiRig(t, {
    env: { MAX_LINE_BYTES: '200', MAX_JOB_BYTES: '2000', MAX_JOB_DOCUMENTS: '20' },
  });
  const cases: [string, number, string, RegExp][] = [
    ['', 400, 'no_documents', /document/],
    ['\n\n', 400, 'no_documents', /document/],
    [`${line('a')}nonsense\n`, 400, 'invalid_line', /Line 2/],
    [`${line('a')}{"id":"b"}\n`, 400, 'invalid_document', /Line 2: text is missing/],
    [
      `${line('a')}${line('b')}{"id":"c","text":["x"]}\n`,
      400,
      'invalid_document',
      /Line 3: text must be a string/,
    ],
    [line('a') + line('b') + line('a'), 400, 'duplicate_id', /line 3/i],
    [line('a', 'x'.repeat(300)), 413, 'body_too_large', /Line 1 is longer than 200 bytes/],
    [Array.from({ length: 15 }, (_, i) => line(i, 'x'.repeat(150))).join(''), 413, 'body_too_large', /2000/],
    [Array.from({ length: 21 }, (_, i) => line(i)).join(''), 413, 'too_many_documents', /20/],
  ];
  for (const [body, status, code, message] of cases)
    assertError(await postLines('/jobs', body), status, code, message);
  assertError(await postLines('/jobs?outputs=dense,nope', line('a')), 400, 'unknown_output', /"nope"/);
  assertError(
    await postLines('/jobs?output=dense', line('a')),
    400,
    'invalid_request',
    /"output" is not a parameter of the query here/,
    'output',
  );
  assertError(
    await postLines('/jobs?dimensions=x', line('a')),
    400,
    'invalid_request',
    /dimensions must be an integer/,
    'dimensions',
  );
  assertError(await postLines('/jobs?model=bge', line('a')), 404, 'unknown_model', /"bge"/);
  jobs.assertEmpty();
});

test('a JSON body over the limit is 413, a streamed one is not held to it', async (t) => {
  const { post, postLines } = await apiRig(t, { env: { MAX_BODY_BYTES: '500' } });
  assertError(await post('/jobs', { documents: passages(30) }), 413, 'body_too_large', /500 bytes/);
  const lines = passages(30)
    .map(({ id, text }) => line(id, text))
    .join('');
  assert.equal((await postLines('/jobs', lines)).statusCode, 202);
});

test('a refusal in the middle of an upload reaches its sender', async (t) => {
  const { app, jobs } = await apiRig(t);
  const address = await app.listen({ host: '127.0.0.1', port: 0 });
  let sent = 0;
  const endless = new ReadableStream({
    async pull(controller) {
      // More than any buffer on the way, and never complete.
      if (sent === 1) controller.enqueue(Buffer.from('nonsense\n'));
      else controller.enqueue(Buffer.from(line(sent)));
      sent++;
      await new Promise((resolve) => setTimeout(resolve, 5));
    },
  });
  const response = await fetch(`${address}/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body: endless,
    duplex: 'half',
  } as RequestInit);
  assert.equal(response.status, 400);
  assert.equal(((await response.json()) as { error: { code: string } }).error.code, 'invalid_line');
  jobs.assertEmpty();
});

test('a sender that leaves in the middle leaves nothing', async (t) => {
  const { app, jobs } = await apiRig(t);
  const address = await app.listen({ host: '127.0.0.1', port: 0 });
  const controller = new AbortController();
  const first = Promise.withResolvers<void>();
  const body = new ReadableStream({
    async pull(stream) {
      stream.enqueue(
        Buffer.from(
          passages(9)
            .map(({ id, text }) => line(id, text))
            .join(''),
        ),
      );
      first.resolve();
      await new Promise(() => {});
    },
  });
  const call = fetch(`${address}/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body,
    duplex: 'half',
    signal: controller.signal,
  } as RequestInit);
  await first.promise;
  while (jobs.storage.blobs.size === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  controller.abort();
  await assert.rejects(call);
  while (jobs.storage.blobs.size > 0 || jobs.ledger.shards.size > 0)
    await new Promise((resolve) => setTimeout(resolve, 2));
  jobs.assertEmpty();
});

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

test('search embeds the query as the job was, and explains hits in words', async (t) => {
  const { post, jobs, engine } = await apiRig(t);
  const documents = [
    { id: 'near', text: 'aa bbb', payload: { lang: 'en' } },
    { id: 'far', text: 'cccccc' },
  ];
  const { id } = (
    await post('/jobs', { documents, outputs: ['dense', 'sparse', 'colbert'], dimensions: 2 })
  ).json();
  await jobs.drain();
  const response = await post(`/jobs/${id}/search`, { query: 'aa', mode: 'sparse', limit: 1, explain: true });
  assert.equal(response.statusCode, 200, response.body);
  const { hits, scanned, warnings } = response.json();
  assert.equal(scanned, 2);
  assert.deepEqual(warnings, []);
  assert.equal(hits.length, 1);
  assert.equal(hits[0].id, 'near');
  assert.equal(hits[0].text, 'aa bbb');
  assert.deepEqual(hits[0].payload, { lang: 'en' });
  assert.deepEqual(
    hits[0].explanation.sparse.map(({ tokenId, token }: { tokenId: number; token: string }) => [
      tokenId,
      token,
    ]),
    [[12, 'xx']],
  );
  for (const mode of ['dense', 'colbert', 'hybrid']) {
    const other = await post(`/jobs/${id}/search`, { query: 'aa', mode });
    assert.equal(other.statusCode, 200, other.body);
  }
  assert.equal(engine.embedCalls.at(-1)?.dimensions, 2);
});

test('an explanation of ColBERT names the tokens of both sides, prompt, chunks and cut included', async (t) => {
  const { post, jobs } = await apiRig(t);
  // The model takes 8 tokens, 6 of them words: behind a prompt the last word is cut off.
  const documents = [{ id: 'long', text: 'a bb ccc dddd eeeee ffffff' }];
  for (const [options, words] of [
    [{}, ['a', 'bb', 'ccc', 'dddd', 'eeeee', 'ffffff']],
    [{ prompt: 'pppppppp: ' }, ['pppppppp:', 'a', 'bb', 'ccc', 'dddd', 'eeeee']],
    [{ chunking: { maxTokens: 5, unit: 'token' } }, ['dddd', 'eeeee', 'ffffff']],
  ] as const) {
    const { id } = (await post('/jobs', { documents, outputs: ['colbert'], ...options })).json();
    await jobs.drain();
    // The last word that the model saw, so that one row is met exactly.
    const query = words.at(-1)!;
    const response = await post(`/jobs/${id}/search`, { query, mode: 'colbert', limit: 2, explain: true });
    assert.equal(response.statusCode, 200, response.body);
    const [hit] = response.json().hits;
    const length = words.length;
    const [first] = hit.explanation.colbert;
    assert.equal(first.documentIndex, length - 1);
    assert.equal(first.queryToken, 'x'.repeat(query.length));
    assert.equal(first.documentToken, 'x'.repeat(query.length));
  }
});

test('search refuses what the job cannot answer', async (t) => {
  const { post, jobs, state } = await apiRig(t, { env: { MAX_INPUT_CHARS: '50' } });
  const { id } = (await post('/jobs', { documents: passages(1), outputs: ['dense'] })).json();
  await jobs.drain();
  const url = `/jobs/${id}/search`;
  assertError(
    await post(url, { query: 'a', mode: 'colbert' }),
    400,
    'invalid_request',
    /colbert .* it has dense/,
    'mode',
  );
  assertError(
    await post(url, { query: 'a', mode: 'best' }),
    400,
    'invalid_request',
    /one of dense, sparse, colbert, hybrid/,
    'mode',
  );
  assertError(await post(url, {}), 400, 'invalid_request', /query is required/, 'query');
  assertError(await post(url, { query: '' }), 400, 'invalid_request', /query must not be empty/, 'query');
  assertError(
    await post(url, { query: 'x'.repeat(51) }),
    400,
    'invalid_request',
    /query must have at most 50/,
    'query',
  );
  state.workers = [];
  assertError(await post(url, { query: 'a' }), 503, 'model_unavailable', /fake/);
});

test('colbert over many rows re-ranks the best of another output of the job', async (t) => {
  const { post, jobs } = await apiRig(t, { env: { MAX_JOB_DOCUMENTS: '5000' } });
  for (const outputs of [
    ['dense', 'colbert'],
    ['sparse', 'colbert'],
  ]) {
    const { id } = (await post('/jobs', { documents: passages(2001), outputs })).json();
    await jobs.drain();
    const response = await post(`/jobs/${id}/search`, { query: 'text d7', mode: 'colbert', limit: 3 });
    assert.equal(response.statusCode, 200, response.body);
    const { hits, notes } = response.json();
    assert.equal(hits.length, 3);
    assert.deepEqual(Object.keys(hits[0].scores), ['colbert']);
    assert.match(notes.join(), new RegExp(`colbert re-ranked the best 100 by ${outputs[0]}`));
  }
});
