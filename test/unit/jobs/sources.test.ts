import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';
import { TrivecError } from '@trivec/core/errors';
import type { RequestedOptions, ServerSource } from '@trivec/core/jobs/serviceTypes';
import { FAKE_MODEL, POISON } from '../../support/fakeEngine.ts';
import { ANYONE, documents, jobRig } from '../../support/jobRig.ts';

const lines = (ids: readonly string[]) =>
  ids.map((id) => `${JSON.stringify({ id, text: `t ${id}` })}\n`).join('');

type Rig = ReturnType<typeof jobRig>;

const submit = (rig: Rig, at: ServerSource, options: RequestedOptions = {}, more = {}) =>
  rig.service.submit({
    source: { format: 'server', at },
    options,
    model: FAKE_MODEL,
    owner: ANYONE.owner,
    ...more,
  });

async function idsOf(rig: Rig, jobId: string): Promise<string[]> {
  const bodies = (await rig.ledger.readShards(jobId, 0, 100)).map(({ inputKey }) =>
    String(rig.storage.blobs.get(inputKey)!.body),
  );
  return bodies
    .join('')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).id);
}

test('an object, and all under a prefix in order of their names, of the owner only', async () => {
  const rig = jobRig();
  const put = (key: string, body: string | Buffer) => rig.storage.put(`imports/${key}`, Buffer.from(body));
  await put('anonymous/a.ndjson', lines(['a1', 'a2']));
  await put('anonymous/set/2.jsonl.gz', gzipSync(lines(['c'])));
  await put('anonymous/set/1.ndjson', lines(['b']).trim());
  await put('anonymous/set/readme.txt', 'not read');
  await put('other/a.ndjson', lines(['secret']));
  const before = rig.storage.blobs.size;
  assert.deepEqual(await idsOf(rig, (await submit(rig, { object: 'a.ndjson' })).id), ['a1', 'a2']);
  for (const prefix of ['set', 'set/'])
    assert.deepEqual(await idsOf(rig, (await submit(rig, { prefix })).id), ['b', 'c']);
  const refusals: [ServerSource, RegExp][] = [
    [{ object: 'gone.ndjson' }, /nothing of that name/],
    [{ object: '../other/a.ndjson' }, /between slashes/],
    [{ object: 'x/../../other/a.ndjson' }, /between slashes/],
    [{ object: '/a.ndjson' }, /between slashes/],
    [{ object: 'a.csv' }, /must be NDJSON.*trivec embed/],
    [{ prefix: 'nothing' }, /nothing of that name/],
    [{ prefix: '..' }, /between slashes/],
  ];
  const now = rig.storage.blobs.size;
  for (const [at, message] of refusals)
    await assert.rejects(submit(rig, at), { code: 'invalid_request', message });
  assert.ok(before < now && rig.storage.blobs.size === now);
});

test('a refusal names the object and the line; a repeated key needs no second reading', async () => {
  const rig = jobRig();
  await rig.storage.put('imports/anonymous/s/1.ndjson', Buffer.from(lines(['a'])));
  await rig.storage.put('imports/anonymous/s/2.ndjson', Buffer.from(`${lines(['b'])}{"id":"c"}\n`));
  await assert.rejects(submit(rig, { prefix: 's' }), {
    code: 'invalid_document',
    message: /^s\/2\.ndjson, line 2: text is missing/,
  });
  await rig.storage.put('imports/anonymous/s/2.ndjson', gzipSync('x'));
  await rig.storage.put('imports/anonymous/s/2.ndjson.gz', Buffer.from('not gzip'));
  await rig.storage.delete(['imports/anonymous/s/2.ndjson']);
  await assert.rejects(submit(rig, { prefix: 's' }), {
    code: 'invalid_request',
    message: /s\/2\.ndjson\.gz/,
  });
  const key = { idempotencyKey: 'k' };
  const first = await submit(rig, { object: 's/1.ndjson' }, {}, key);
  await rig.storage.delete(['imports/anonymous/s/1.ndjson']);
  assert.equal((await submit(rig, { object: 's/1.ndjson' }, {}, key)).id, first.id);
  await assert.rejects(submit(rig, { object: 's/2.ndjson' }, {}, key), { code: 'idempotency_conflict' });
});

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'trivec-source-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

test('a file under an allowed folder; nothing else, whatever the path or link', async (t) => {
  const root = await folder(t);
  const [allowed, outside] = [join(root, 'allowed'), join(root, 'allowed-not')];
  await mkdir(join(allowed, 'deep'), { recursive: true });
  await mkdir(outside);
  await writeFile(join(outside, 'secret.ndjson'), lines(['secret']));
  await writeFile(join(allowed, 'deep', 'a.ndjson.gz'), gzipSync(lines(['a'])));
  await writeFile(join(allowed, 'table.csv'), 'id,text\n');
  await symlink(join(outside, 'secret.ndjson'), join(allowed, 'link.ndjson'));
  await symlink(outside, join(allowed, 'linked'));
  await symlink(join(allowed, 'deep', 'a.ndjson.gz'), join(allowed, 'inner.ndjson.gz'));
  execFileSync('mkfifo', [join(allowed, 'pipe.ndjson')]);
  const rig = jobRig({ sourceDirs: [join(root, 'missing'), allowed] });
  for (const file of ['deep/a.ndjson.gz', join(allowed, 'deep/../deep/a.ndjson.gz'), 'inner.ndjson.gz'])
    assert.deepEqual(await idsOf(rig, (await submit(rig, { file })).id), ['a']);
  const before = rig.storage.blobs.size;
  for (const file of [
    'gone.ndjson',
    'deep',
    '.',
    '../allowed-not/secret.ndjson',
    join(outside, 'secret.ndjson'),
    'link.ndjson',
    'linked/secret.ndjson',
    'pipe.ndjson',
    '/dev/zero',
    'a\0b.ndjson',
  ])
    await assert.rejects(submit(rig, { file }), {
      code: 'invalid_request',
      param: 'source.file',
      message: 'source.file: there is no such file under SOURCE_DIRS.',
    });
  await assert.rejects(submit(rig, { file: 'table.csv' }), { code: 'invalid_request', message: /NDJSON/ });
  await assert.rejects(submit(jobRig(), { file: 'a.ndjson' }), { message: /no SOURCE_DIRS/ });
  assert.equal(rig.storage.blobs.size, before);
});

test('a dry run counts, estimates and lists what would be refused, and stores nothing', async () => {
  const rig = jobRig();
  const dry = (list: unknown[], options: RequestedOptions = {}) =>
    rig.service.dryRun({
      source: { format: 'array', documents: list },
      options,
      model: FAKE_MODEL,
      owner: ANYONE.owner,
    });
  // Three words and two special tokens each.
  const report = await dry(documents(400), { outputs: ['dense', 'sparse', 'colbert'], dimensions: 2 });
  assert.deepEqual(report, {
    documents: 400,
    textBytes: documents(400).reduce((sum, { text }) => sum + text.length, 0),
    tokens: 2000,
    sampledTexts: 256,
    rows: 400,
    estimatedSeconds: 200,
    tokensPerSecond: 10,
    resultBytes: { dense: 400 * 2 * 4, sparse: 2000 * 8, colbert: 2000 * 2 * 2 },
    accepted: true,
    refused: { total: 0, byCode: {}, first: [] },
  });
  rig.workers[0]!.maxBulkTokens = 4;
  assert.equal((await dry(documents(400))).tokens, 1600);
  delete rig.workers[0]!.maxBulkTokens;
  const bad = [...documents(2), { id: 'x' }, { id: 'd0', text: 'again' }, 3];
  const refused = await dry(bad);
  assert.equal(refused.documents, 2);
  assert.equal(refused.accepted, false);
  assert.deepEqual(refused.refused.byCode, { invalid_document: 2, duplicate_id: 1 });
  assert.deepEqual(
    refused.refused.first.map(({ id, param }) => [id, param]),
    [
      ['', 'documents[2]'],
      ['d0', 'documents[3]'],
      ['', 'documents[4]'],
    ],
  );
  assert.equal((await dry(bad, { onInvalid: 'skip' })).accepted, true);
  const destination = { type: 'qdrant', collection: 'c' } as const;
  await assert.rejects(dry(documents(2), { destination }), { param: 'destination', message: /no Qdrant/ });
  // 20 words: chunks of 6 words that share 1.
  const long = documents(3, () => 'w '.repeat(20));
  assert.equal((await dry(long)).tokens, 24, 'cut to the length of the model');
  assert.equal((await dry(long, { chunking: { maxTokens: 8, overlap: 1 } })).rows, 9);
  rig.workers.length = 0;
  assert.equal((await dry(documents(3))).estimatedSeconds, null);
  await assert.rejects(dry([]), { code: 'no_documents' });
  rig.assertEmpty();
});

test('limits: open jobs of an owner, the backlog of all, room in the storage', async () => {
  const rig = jobRig({ maxOpenJobs: 2, maxBacklogShards: 6, minFreeBytes: 1000 });
  await rig.service.admit('a');
  await rig.submit(documents(4));
  const key = { idempotencyKey: 'k' };
  const second = await rig.service.submit({
    source: { format: 'array', documents: documents(4) },
    options: {},
    model: FAKE_MODEL,
    owner: ANYONE.owner,
    ...key,
  });
  const overloaded = (message: RegExp) => ({ code: 'overloaded', retryAfterSeconds: 30, message });
  await assert.rejects(rig.service.admit(ANYONE.owner), overloaded(/2 open jobs.*MAX_OPEN_JOBS/));
  await rig.service.admit(ANYONE.owner, 'k');
  await rig.service.admit('somebody');
  const third = await rig.submit(documents(16));
  await assert.rejects(rig.service.admit('somebody'), overloaded(/6 shards wait.*MAX_BACKLOG_SHARDS/));
  // What is paused waits for its owner, and keeps nobody else waiting.
  await rig.service.pause(third.id, ANYONE);
  await rig.service.admit('somebody');
  await rig.service.resume(third.id, ANYONE);
  await assert.rejects(rig.service.admit('somebody'), { code: 'overloaded' });
  await rig.service.cancel(third.id, ANYONE);
  await rig.service.cancel(second.id, ANYONE);
  await rig.service.admit(ANYONE.owner);
  rig.storage.free = 999;
  await assert.rejects(rig.service.admit(ANYONE.owner), { code: 'storage_full', message: /MIN_FREE_BYTES/ });
});

test('a retry counts at once for the room of its owner', async () => {
  const rig = jobRig({ maxOpenJobs: 1 });
  const { id } = await rig.submit([{ id: 'a', text: POISON }]);
  await rig.drain();
  await rig.service.admit(ANYONE.owner);
  await rig.service.retry(id, ANYONE);
  await assert.rejects(rig.service.admit(ANYONE.owner), { code: 'overloaded' });
});

test('however many ask for room at once, the open jobs are read once; what this process adds counts at once', async () => {
  const rig = jobRig({ maxOpenJobs: 2 });
  let looks = 0;
  const { listOpenJobs } = rig.ledger;
  rig.ledger.listOpenJobs = () => {
    looks++;
    return listOpenJobs.call(rig.ledger);
  };
  await Promise.all(Array.from({ length: 50 }, (_, i) => rig.service.admit(`key ${i}`)));
  assert.equal(looks, 1);
  const { id } = await rig.submit([{ id: 'a', text: 'x' }]);
  await rig.submit([{ id: 'a', text: 'x' }]);
  await assert.rejects(rig.service.admit(ANYONE.owner), { code: 'overloaded' });
  await rig.service.cancel(id, ANYONE);
  await rig.service.admit(ANYONE.owner);
  rig.ledger.listOpenJobs = async () => {
    throw new TrivecError('backend_unavailable', 'away');
  };
  await rig.service.delete(id, ANYONE);
  await assert.rejects(rig.service.admit(ANYONE.owner), { code: 'backend_unavailable' });
  rig.ledger.listOpenJobs = listOpenJobs;
  await rig.service.admit(ANYONE.owner);
});

test('a cursor of one key is none of another’s list', async () => {
  const rig = jobRig();
  for (let i = 0; i < 3; i++) await rig.submit([{ id: 'a', text: 'x' }]);
  const { cursor } = await rig.service.list(ANYONE, { limit: 1 });
  assert.ok(cursor !== undefined);
  assert.equal((await rig.service.list(ANYONE, { limit: 5, cursor })).jobs.length, 2);
  for (const viewer of [
    { owner: 'other', admin: false },
    { owner: ANYONE.owner, admin: true },
  ])
    await assert.rejects(rig.service.list(viewer, { limit: 1, cursor }), {
      code: 'invalid_cursor',
      message: /another API key/,
    });
  await assert.rejects(rig.service.list(ANYONE, { limit: 1, cursor: 'x' }), { code: 'invalid_cursor' });
});
