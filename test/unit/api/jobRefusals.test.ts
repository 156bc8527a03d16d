import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import test from 'node:test';
import { apiRig, assertError } from '../../support/apiRig.ts';
import { line, passages } from '../../support/jobLines.ts';

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

test('a sender of too large a JSON body may end it: the connection is there for its next request', async (t) => {
  const { app } = await apiRig(t, { env: { MAX_BODY_BYTES: '1000' } });
  const { port } = new URL(await app.listen({ host: '127.0.0.1', port: 0 }));
  for (const path of ['/embeddings', '/tei/embed']) {
    const socket = connect(Number(port), '127.0.0.1').setEncoding('utf8');
    const head = 'Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000';
    socket.write(`POST ${path} HTTP/1.1\r\n${head}\r\n\r\n`);
    const [refusal] = await once(socket, 'data');
    assert.match(refusal, /^HTTP\/1\.1 413 .*MAX_BODY_BYTES/s);
    socket.write(`${' '.repeat(100_000)}GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    const [answer] = await once(socket, 'data', { signal: AbortSignal.timeout(10_000) });
    assert.match(answer, /^HTTP\/1\.1 200 /);
    socket.destroy();
  }
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
