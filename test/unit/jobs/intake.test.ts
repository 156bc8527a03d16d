import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import test from 'node:test';
import { TrivecError } from '@trivec/core/errors';
import { readShardDocuments } from '@trivec/core/jobs/shardCutter';
import { FAKE_MODEL } from '../../support/fakeEngine.ts';
import { ANYONE, documents, jobRig } from '../../support/jobRig.ts';

const ndjson = (...lines: string[]) => [Buffer.from(lines.map((line) => `${line}\n`).join(''))];
const good = '{"id":"a","text":"one two"}';

test('documents become shards, the job is committed and enqueued', async () => {
  const rig = jobRig();
  const job = await rig.submit(documents(10), { metadata: { team: 'x' } });
  assert.equal(job.status, 'queued');
  assert.deepEqual(job.options, {
    outputs: ['dense', 'sparse'],
    normalize: true,
    truncate: true,
    metadata: { team: 'x' },
  });
  assert.deepEqual(job.shards, { total: 3, stored: 0, written: 0 });
  assert.equal(job.counts.documents, 10);
  assert.deepEqual(await rig.service.get(job.id, ANYONE), job);
  const shards = await rig.ledger.readShards(job.id, 0, 10);
  assert.deepEqual(
    shards.map((shard) => shard.documents),
    [4, 4, 2],
  );
  const stored = shards.flatMap(({ inputKey }) => readShardDocuments(rig.storage.blobs.get(inputKey)!.body));
  assert.deepEqual(stored, documents(10));
  assert.equal(
    job.textBytes.total,
    documents(10).reduce((sum, { text }) => sum + text.length, 0),
  );
  assert.deepEqual(
    [...rig.queue.items.values()].map(({ data, fairOffset }) => [data.ordinal, fairOffset]),
    [
      [0, 0],
      [1, 1],
      [2, 2],
    ],
  );
});

test('NDJSON with a BOM, CRLF, blank lines and no newline at the end', async () => {
  const rig = jobRig();
  const body = Buffer.from(`\ufeff${good}\r\n\r\n  \n{"id":7,"text":"b","payload":{"k":1}}`);
  const job = await rig.submitLines([body.subarray(0, 9), body.subarray(9)]);
  assert.equal(job.counts.documents, 2);
});

const refusedLines: [name: string, lines: string[], code: string, param: string, says: RegExp][] = [
  [
    'not JSON',
    [good, '{"id": "b", text}'],
    'invalid_line',
    'line 2',
    /^Line 2 is not JSON \(at character 13\)/,
  ],
  ['cut short', [good, '{"id": "b"'], 'invalid_line', 'line 2', /Line 2 is not JSON/],
  ['a duplicate', [good, '{"id":"b","text":"x"}', good], 'duplicate_id', 'line 3', /Line 3: id "a" was used/],
  ['42 and "42"', ['{"id":42,"text":"x"}', '{"id":"42","text":"y"}'], 'duplicate_id', 'line 2', /"42"/],
  ['no text', [good, '{"id":"b"}'], 'invalid_document', 'line 2', /Line 2: text is missing/],
  [
    'a long line',
    [good, `{"id":"b","text":"${'x'.repeat(10_000)}"}`],
    'body_too_large',
    'line 2',
    /10000 bytes/,
  ],
];

for (const [name, lines, code, param, message] of refusedLines)
  test(`a refused body leaves nothing behind: ${name}`, async () => {
    const rig = jobRig({ shardMaxDocuments: 1 });
    await assert.rejects(rig.submitLines(ndjson(...lines)), { code, param, message });
    rig.assertEmpty();
  });

test('a payload nested more deeply than can be stored is refused, also by a dry run', async () => {
  const rig = jobRig({ maxLineBytes: 1_000_000 });
  const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
  const body = ndjson(good, `{"id":"b","text":"x","payload":{"a":${deep}}}`);
  const refusal = {
    code: 'invalid_document',
    param: 'line 2',
    message: /Line 2: payload is nested too deeply/,
  };
  await assert.rejects(rig.submitLines(body), refusal);
  const report = await rig.service.dryRun({
    source: { format: 'ndjson', body: Readable.from(body) },
    options: {},
    model: FAKE_MODEL,
    owner: ANYONE.owner,
  });
  assert.equal(report.documents, 1);
  assert.equal(report.accepted, false);
  assert.deepEqual(report.refused.byCode, { invalid_document: 1 });
  rig.assertEmpty();
});

test('an error message about JSON does not quote the text', async () => {
  const rig = jobRig();
  await assert.rejects(rig.submitLines(ndjson('secret words')), (error: Error) => {
    assert.doesNotMatch(error.message, /secret/);
    return true;
  });
});

test('limits of a job: documents, bytes, none at all', async () => {
  const few = jobRig({ maxJobDocuments: 3, shardMaxDocuments: 1 });
  await assert.rejects(few.submit(documents(4)), { code: 'too_many_documents', message: /3 documents/ });
  few.assertEmpty();
  assert.equal((await few.submit(documents(3))).counts.documents, 3);
  const small = jobRig({ maxJobBytes: 50, shardMaxDocuments: 1 });
  await assert.rejects(small.submitLines(ndjson(good, '{"id":"b","text":"more than fifty"}')), {
    code: 'body_too_large',
    message: /50 bytes.*MAX_JOB_BYTES/,
  });
  small.assertEmpty();
  for (const nothing of [[], 'text', undefined, { id: 'a' }]) {
    const code = Array.isArray(nothing) ? 'no_documents' : 'invalid_request';
    await assert.rejects(small.submit(nothing), { code, param: 'documents' });
  }
  await assert.rejects(small.submitLines(ndjson('', ' ')), { code: 'no_documents' });
  small.assertEmpty();
});

test('options that the model cannot serve are refused before anything is read', async () => {
  const rig = jobRig();
  await assert.rejects(rig.submit(documents(1), { outputs: ['dense', 'splade'] }), {
    code: 'unknown_output',
    message: /splade.*dense, sparse, colbert/,
  });
  await assert.rejects(rig.submit(documents(1), { outputs: [] }), { code: 'invalid_request' });
  await assert.rejects(rig.submit(documents(1), { dimensions: 5 }), {
    code: 'invalid_request',
    message: /1 to 4/,
  });
  await assert.rejects(rig.submit(documents(1), { outputs: ['sparse'], dimensions: 2 }), {
    code: 'invalid_request',
  });
  rig.assertEmpty();
  const job = await rig.submit(documents(1), { outputs: ['colbert', 'dense', 'dense'], dimensions: 2 });
  assert.deepEqual(job.options.outputs, ['dense', 'colbert']);
  assert.deepEqual(job.model, { name: 'fake', fingerprint: 'fake-1', denseDims: 2, colbertDims: 2 });
});

test('a sender that leaves, a broken stream and damaged gzip leave nothing behind', async () => {
  const breaking = (error: Error) =>
    (async function* () {
      yield* ndjson(good, '{"id":"b","text":"x"}', '{"id":"c","text":"x"}');
      throw error;
    })();
  const rig = jobRig({ shardMaxDocuments: 1 });
  await assert.rejects(rig.submitLines(breaking(new Error('aborted'))), { code: 'upload_aborted' });
  const gzip = Object.assign(new Error('incorrect header check'), { code: 'Z_DATA_ERROR' });
  await assert.rejects(rig.submitLines(breaking(gzip)), { code: 'invalid_request' });
  const signal = AbortSignal.abort();
  const source = { format: 'array' as const, documents: documents(3) };
  await assert.rejects(rig.service.submit({ source, options: {}, model: FAKE_MODEL, owner: 'x', signal }), {
    code: 'upload_aborted',
  });
  rig.assertEmpty();
});

test('a full storage refuses the job and leaves nothing behind', async () => {
  const rig = jobRig({ shardMaxDocuments: 1 });
  rig.storage.failPut = (_key, puts) => (puts > 5 ? new TrivecError('storage_full', 'full') : undefined);
  await assert.rejects(rig.submit(documents(100)), { code: 'storage_full' });
  rig.assertEmpty();
});

test('no more than a few shards are held while storage is slow', async () => {
  const rig = jobRig({ shardMaxDocuments: 1 });
  let stored = 0;
  let ahead = 0;
  let sent = 0;
  const put = rig.storage.put.bind(rig.storage);
  rig.storage.put = async (key, body) => {
    await new Promise((resolve) => setImmediate(resolve));
    await put(key, body);
    stored++;
  };
  async function* slowlyRead() {
    for (let i = 0; i < 200; i++) {
      ahead = Math.max(ahead, sent - stored);
      sent++;
      yield Buffer.from(`{"id":${i},"text":"x"}\n`);
    }
  }
  const job = await rig.submitLines(slowlyRead());
  assert.equal(job.shards.total, 200);
  assert.ok(ahead <= 8, `${ahead} documents were read ahead of the storage`);
});

test('where the ledger did not say whether the commit went through, it is asked; nothing goes while it is silent', async () => {
  const rig = jobRig();
  const { commitJob, readJob } = rig.ledger;
  const broken = () => new TrivecError('backend_unavailable', 'the connection broke');
  rig.ledger.commitJob = async (job) => {
    await commitJob.call(rig.ledger, job);
    throw broken();
  };
  const there = await rig.submit(documents(5));
  assert.equal((await rig.job(there.id)).status, 'queued', 'it was committed: that is the answer');
  assert.equal(rig.queue.items.size, 2);

  const keyed = {
    source: { format: 'array' as const, documents: documents(5) },
    options: {},
    model: FAKE_MODEL,
  };
  const again = () => rig.service.submit({ ...keyed, owner: 'x', idempotencyKey: 'k' });
  rig.ledger.readJob = async () => {
    throw broken();
  };
  await assert.rejects(again(), { code: 'backend_unavailable' });
  assert.equal(rig.storage.blobs.size, 4, 'a committed job must keep its documents');
  rig.ledger.readJob = readJob;
  const found = await again();
  assert.equal((await rig.job(found.id)).counts.documents, 5);
  assert.equal(rig.storage.blobs.size, 4, 'the repetition found the job of the lost answer');

  rig.ledger.commitJob = async () => {
    throw broken();
  };
  await assert.rejects(rig.submit(documents(5)), { code: 'backend_unavailable' });
  assert.equal(rig.storage.blobs.size, 4, 'it was not committed: nothing stays');
});
