import assert from 'node:assert/strict';
import test from 'node:test';
import { fairStep } from '@trivec/core/jobs/enqueue';
import type { DocumentSource, RequestedOptions } from '@trivec/core/jobs/serviceTypes';
import { FAKE_MODEL } from '../../support/fakeEngine.ts';
import { ANYONE, documents, jobRig } from '../../support/jobRig.ts';

type Rig = ReturnType<typeof jobRig>;

const lines = (...records: unknown[]): DocumentSource => ({
  format: 'ndjson',
  body: [Buffer.from(records.map((record) => `${JSON.stringify(record)}\n`).join(''))] as never,
});

const array = (list: unknown): DocumentSource => ({ format: 'array', documents: list });

function submit(
  { service }: Rig,
  source: DocumentSource,
  options: RequestedOptions = {},
  more: { idempotencyKey?: string; owner?: string } = {},
) {
  return service.submit({ source, options, model: FAKE_MODEL, owner: ANYONE.owner, ...more });
}

async function stored(rig: Rig, jobId: string): Promise<unknown[]> {
  const found: unknown[] = [];
  for (const { inputKey } of await rig.ledger.readShards(jobId, 0, 1000))
    for (const line of rig.storage.blobs.get(inputKey)!.body.toString().trim().split('\n'))
      found.push(JSON.parse(line));
  return found;
}

const errorsOf = async (rig: Rig, id: string) => Array.fromAsync(await rig.service.errors(id, ANYONE));

test('one idempotency key is one job, whatever the form of the same documents', async () => {
  const rig = jobRig();
  const list = documents(9);
  const key = { idempotencyKey: 'k-1' };
  const first = await submit(rig, array(list), { metadata: { a: 1, b: { c: 2, d: 3 } } }, key);
  const blobs = [...rig.storage.blobs.keys()];
  const again = await submit(rig, lines(...list), { metadata: { b: { d: 3, c: 2 }, a: 1 } }, key);
  assert.equal(again.id, first.id);
  assert.deepEqual([...rig.storage.blobs.keys()], blobs);
  assert.equal(rig.ledger.jobs.size, 1);
  await rig.drain();
  const late = await submit(rig, array(list), { metadata: { a: 1, b: { c: 2, d: 3 } } }, key);
  assert.equal(late.status, 'completed', 'the answer is the job as it is now');
});

test('an idempotency key with another request is a conflict; of another owner it is another key', async () => {
  const rig = jobRig();
  const key = { idempotencyKey: 'k' };
  const { id } = await submit(rig, array(documents(5)), {}, key);
  for (const [source, options] of [
    [array(documents(6)), {}],
    [array(documents(5)), { outputs: ['dense'] }],
    [array(documents(5)), { onInvalid: 'skip' }],
    [array(documents(5, () => 'other')), {}],
  ] as [DocumentSource, RequestedOptions][])
    await assert.rejects(submit(rig, source, options, key), {
      code: 'idempotency_conflict',
      param: 'idempotency-key',
      message: new RegExp(id),
    });
  assert.equal(rig.ledger.jobs.size, 1);
  const other = await submit(rig, array(documents(6)), {}, { ...key, owner: 'somebody' });
  assert.notEqual(other.id, id);
  await rig.service.delete(id, ANYONE);
  assert.notEqual((await submit(rig, array(documents(6)), {}, key)).id, id, 'deleting frees the key');
});

test('of many that come at once with one key one makes the job, and the others leave nothing', async () => {
  const rig = jobRig();
  const jobs = await Promise.all(
    Array.from({ length: 6 }, () => submit(rig, array(documents(9)), {}, { idempotencyKey: 'k' })),
  );
  assert.equal(new Set(jobs.map(({ id }) => id)).size, 1);
  assert.equal(rig.ledger.jobs.size, 1);
  assert.equal(rig.ledger.shards.size, 1);
  assert.ok([...rig.storage.blobs.keys()].every((key) => key.includes(jobs[0]!.id)));
});

test('a refused or crashed upload leaves its key free', async () => {
  const rig = jobRig();
  const key = { idempotencyKey: 'k' };
  await assert.rejects(submit(rig, array([...documents(3), { id: 'x' }]), {}, key), {
    code: 'invalid_document',
  });
  rig.assertEmpty();
  // A process that dies between the last blob and the commit.
  const commit = rig.ledger.commitJob;
  rig.ledger.commitJob = () => new Promise(() => {});
  void submit(rig, array(documents(3)), {}, key);
  await new Promise((resolve) => setImmediate(resolve));
  rig.ledger.commitJob = commit;
  assert.equal((await submit(rig, array(documents(4)), {}, key)).counts.documents, 4);
});

test('fields: other records become documents', async () => {
  const rig = jobRig();
  const record = { _id: 7, title: 'T', text: 'body', year: 1999, none: null };
  const cases: [RequestedOptions['fields'], unknown][] = [
    [{ id: '_id' }, { id: '7', text: 'body' }],
    [
      { id: '_id', text: ['title', 'text'] },
      { id: '7', text: 'T\nbody' },
    ],
    [
      { id: '_id', text: ['none', 'missing', 'title'] },
      { id: '7', text: 'T' },
    ],
    [
      { id: '_id', text: 'title', payload: ['year', 'gone'] },
      { id: '7', text: 'T', payload: { year: 1999 } },
    ],
    [
      { id: '_id', payload: true },
      { id: '7', text: 'body', payload: { title: 'T', year: 1999, none: null } },
    ],
  ];
  for (const [fields, expected] of cases) {
    const { id } = await submit(rig, lines(record), { fields: fields! });
    assert.deepEqual(await stored(rig, id), [expected]);
  }
});

test('fields: inherited names hold nothing; names of prototypes are refused, as in a JSON body', async () => {
  const rig = jobRig();
  const named = [
    '"__proto__":{"polluted":1}',
    '"\\u005f_proto__":1',
    '"a":[{"constructor":{"prototype":1}}]',
  ];
  for (const name of named) {
    const body = [Buffer.from(`{"id":"a","text":"x"}\n{"id":"b","text":"x",${name}}\n`)] as never;
    const refused = submit(rig, { format: 'ndjson', body }, { fields: { payload: true } });
    await assert.rejects(refused, {
      code: 'invalid_line',
      param: 'line 2',
      message: /such names are refused/,
    });
  }
  assert.equal(({} as { polluted?: number }).polluted, undefined);
  await assert.rejects(submit(rig, lines({ id: 'a', text: 'x' }), { fields: { id: 'constructor' } }), {
    code: 'invalid_document',
    message: /Line 1: constructor is missing/,
  });
});

test('fields: refusals name the line and the field', async () => {
  const rig = jobRig();
  const cases: [unknown, RequestedOptions['fields'], RegExp][] = [
    [{ id: 1, body: 3 }, { text: ['body'] }, /Line 1: body must be a string/],
    [{ id: 1, a: '', b: null }, { text: ['a', 'b'] }, /Line 1: a, b has no text/],
    [{ key: '', text: 'x' }, { id: 'key' }, /Line 1: key must not be empty/],
  ];
  for (const [record, fields, message] of cases)
    await assert.rejects(submit(rig, lines(record), { fields: fields! }), {
      code: 'invalid_document',
      message,
    });
  await assert.rejects(submit(rig, lines({}), { fields: { text: [] } }), {
    code: 'invalid_request',
    param: 'fields.text',
  });
  rig.assertEmpty();
});

test('onInvalid: skip leaves out each bad line, counts it and lists it', async () => {
  const rig = jobRig({ maxLineBytes: 100 });
  const body = [
    '{"id":"a","text":"one"}',
    'no json',
    '{"id":"b"}',
    `{"id":"long","text":"${'x'.repeat(200)}"}`,
    '',
    '{"id":"a","text":"a duplicate"}',
    '{"id":"c","text":"three"}',
  ].join('\n');
  const bytes = Buffer.concat([Buffer.from(body), Buffer.from('\n{"id":"d","text":"\xff"}', 'latin1')]);
  // In small pieces, so that the long line is dropped while it arrives.
  const pieces = Array.from({ length: Math.ceil(bytes.length / 7) }, (_, i) =>
    bytes.subarray(i * 7, i * 7 + 7),
  );
  const job = await submit(rig, { format: 'ndjson', body: pieces as never }, { onInvalid: 'skip' });
  assert.equal(job.counts.documents, 2);
  assert.deepEqual(job.skipped, { lines: 5, blobs: 1 });
  await rig.drain();
  assert.deepEqual(
    (await stored(rig, job.id)).map((document) => (document as { id: string }).id),
    ['a', 'c'],
  );
  const errors = await errorsOf(rig, job.id);
  assert.deepEqual(
    errors.map(({ id, code, param }) => [id, code, param]),
    [
      ['', 'invalid_line', 'line 2'],
      ['', 'invalid_document', 'line 3'],
      ['', 'body_too_large', 'line 4'],
      ['a', 'duplicate_id', 'line 6'],
      ['', 'invalid_line', 'line 8'],
    ],
  );
  const ended = await rig.job(job.id);
  assert.equal(ended.status, 'completed');
  assert.deepEqual(ended.errors, errors);
  await rig.service.delete(job.id, ANYONE);
  rig.assertEmpty();
});

test('a hundred thousand skipped lines are listed in pieces, exactly', async () => {
  const rig = jobRig();
  const many = Array.from({ length: 100_000 }, () => '{"id":"same","text":"x"}\n').join('');
  const job = await submit(
    rig,
    { format: 'ndjson', body: [Buffer.from(many)] as never },
    { onInvalid: 'skip' },
  );
  assert.equal(job.counts.documents, 1);
  assert.equal(job.skipped?.lines, 99_999);
  assert.ok(job.skipped.blobs > 10);
  assert.equal(job.errors.length, 10);
  const errors = await errorsOf(rig, job.id);
  assert.equal(errors.length, 99_999);
  assert.equal(errors.at(-1)?.param, 'line 100000');
});

test('where every line was skipped there is no job, and the first reason is told', async () => {
  const rig = jobRig();
  await assert.rejects(submit(rig, lines({ id: 'a' }, { id: 'b' }), { onInvalid: 'skip' }), {
    code: 'no_documents',
    message: /skipped; the first: Line 1: text is missing/,
  });
  rig.assertEmpty();
});

test('weight and priority decide how far apart the shards stand in the queue', async () => {
  assert.equal(fairStep({}), 1);
  assert.equal(fairStep({ weight: 2 }), 0.5);
  assert.equal(fairStep({ priority: 'high' }), 0.25);
  assert.equal(fairStep({ priority: 'low', weight: 2 }), 2);
  const rig = jobRig({ shardMaxDocuments: 1 });
  await submit(rig, array(documents(3)), { weight: 0.5, priority: 'low' });
  assert.deepEqual(
    [...rig.queue.items.values()].map(({ fairOffset }) => fairOffset),
    [0, 8, 16],
  );
});

test('limits of weight, metadata, prompt and chunking are named', async () => {
  const rig = jobRig();
  const deep = JSON.parse(`${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`);
  const cases: [RequestedOptions, string, RegExp][] = [
    [{ weight: 0 }, 'weight', /0\.01 to 100/],
    [{ weight: Number.NaN }, 'weight', /0\.01 to 100/],
    [{ metadata: { a: 'x'.repeat(17_000) } }, 'metadata', /16384 bytes as JSON, and has 17008/],
    [{ metadata: deep }, 'metadata', /16384 bytes/],
    [{ prompt: 'x'.repeat(2001) }, 'prompt', /2000/],
    [{ chunking: { maxTokens: 9 } }, 'chunking.maxTokens', /4 to 8, the longest text of fake/],
    [{ chunking: { maxTokens: 3 } }, 'chunking.maxTokens', /4 to 8/],
    [{ chunking: { maxTokens: 8, overlap: 5 } }, 'chunking.overlap', /0 to 4/],
  ];
  for (const [options, param, message] of cases)
    await assert.rejects(submit(rig, array(documents(1)), options), {
      code: 'invalid_request',
      param,
      message,
    });
  rig.assertEmpty();
});

test('the prompt is the given one, or else that of the model for the kind of text', async () => {
  const rig = jobRig();
  const model = { ...FAKE_MODEL, prompts: { document: 'passage: ', query: 'query: ' } };
  const promptOf = async (options: RequestedOptions) =>
    (await rig.service.submit({ source: array(documents(1)), options, model, owner: 'x' })).options.prompt;
  assert.equal(await promptOf({}), 'passage: ');
  assert.equal(await promptOf({ inputType: 'query' }), 'query: ');
  assert.equal(await promptOf({ prompt: 'p ' }), 'p ');
  assert.equal(await promptOf({ prompt: '' }), undefined);
});
