import assert from 'node:assert/strict';
import test from 'node:test';
import { jobView } from '@trivec/core/jobs/jobView';
import { OUTPUTS } from '@trivec/core/vectors/types';
import { tableFromIPC } from 'apache-arrow';
import { ANYONE, documents, jobRig } from '../../support/jobRig.ts';

const ids = (rows: readonly { id: string }[]) => rows.map(({ id }) => id);
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `d${from + i}`);

test('while the job runs, the finished part from the start is read, and the cursor goes on from there', async () => {
  const rig = jobRig();
  const job = await rig.submit(documents(12));
  const nothing = await rig.lines(job.id);
  assert.deepEqual(nothing.rows, []);
  assert.ok(nothing.nextCursor);
  await rig.run({ jobId: job.id, ordinal: 0 });
  await rig.run({ jobId: job.id, ordinal: 2 });
  const first = await rig.lines(job.id, { cursor: nothing.nextCursor });
  assert.deepEqual(ids(first.rows), range(0, 4), 'shard 2 waits for shard 1');
  await rig.run({ jobId: job.id, ordinal: 1 });
  const rest = await rig.lines(job.id, { cursor: first.nextCursor! });
  assert.deepEqual(ids(rest.rows), range(4, 12));
  assert.equal(rest.nextCursor, undefined);
});

test('pages of any size join up to the whole, once and in order', async () => {
  const rig = jobRig();
  const texts = (i: number) => (i % 5 === 1 || (i >= 8 && i < 12) ? 'poison' : `text ${i}`);
  const job = await rig.submit(documents(23, texts));
  await rig.drain();
  const expected = range(0, 23).filter((_, i) => texts(i) !== 'poison');
  for (let limit = 1; limit <= 24; limit++) {
    const found: string[] = [];
    let cursor: string | undefined;
    let pages = 0;
    do {
      const page = await rig.lines(job.id, { limit, ...(cursor !== undefined && { cursor }) });
      found.push(...ids(page.rows));
      cursor = page.nextCursor;
      assert.ok(page.rows.length > 0 && ++pages < 50);
    } while (cursor !== undefined);
    assert.deepEqual(found, expected);
    assert.equal(pages, Math.ceil(expected.length / limit));
  }
});

test('Arrow and NDJSON give the same numbers, of the outputs asked for, in fp16 for ColBERT', async () => {
  const rig = jobRig();
  const job = await rig.submit(documents(6), { outputs: [...OUTPUTS] });
  await rig.drain();
  const { rows } = await rig.lines(job.id, { limit: 5 });
  const page = await rig.service.results(job.id, ANYONE, { format: 'arrow', limit: 5 });
  assert.equal(page.contentType, 'application/vnd.apache.arrow.stream');
  const table = tableFromIPC(await Array.fromAsync(page.body));
  assert.equal(table.numRows, 5);
  for (const [i, row] of rows.entries()) {
    const other = table.get(i)!;
    assert.equal(other.id, row.id);
    assert.deepEqual([...other.dense], row.dense!.map(Math.fround));
    assert.deepEqual([...other.sparse.indices], row.sparse!.indices);
    assert.deepEqual([...other.sparse.values], row.sparse!.values.map(Math.fround));
    assert.equal(row.colbert!.length, row.tokens - 1);
    const halves = [...other.colbert].flatMap((vector: Iterable<number>) => [...vector]);
    assert.deepEqual(halves, row.colbert!.flat().map(Math.f16round));
  }
  const shard = (await rig.ledger.readShards(job.id, 0, 1))[0]!;
  const [first] = (
    await rig.engine.embed(await rig.engine.encode(['word number x']), { outputs: ['dense'], lane: 'bulk' })
  ).vectors;
  assert.ok(first && 'dense' in first && shard.rows === 4);
  assert.deepEqual(rows[0]!.dense!.map(Math.fround), [...first.dense!]);
});

test('a cursor is good for its own job only', async () => {
  const rig = jobRig();
  const [a, b] = [await rig.submit(documents(5)), await rig.submit(documents(5))];
  await rig.drain();
  const { nextCursor } = await rig.lines(a.id, { limit: 2 });
  await assert.rejects(rig.lines(b.id, { cursor: nextCursor! }), {
    code: 'invalid_cursor',
    message: /another job/,
  });
  const far = Buffer.from(`${a.id}:99:0`).toString('base64url');
  for (const cursor of ['', 'x', 'x'.repeat(1000), nextCursor!.slice(1), far])
    await assert.rejects(rig.lines(a.id, { cursor }), { code: 'invalid_cursor', param: 'cursor' });
});

test('a job is seen by its owner and by an admin', async () => {
  const rig = jobRig();
  const job = await rig.submit(documents(1));
  const stranger = { owner: 'stranger', admin: false };
  const admin = { owner: 'boss', admin: true };
  for (const call of [
    () => rig.service.get(job.id, stranger),
    () => rig.service.cancel(job.id, stranger),
    () => rig.service.delete(job.id, stranger),
    () => rig.service.errors(job.id, stranger),
    () => rig.service.results(job.id, stranger, { format: 'ndjson' }),
  ])
    await assert.rejects(call, { code: 'job_not_found' });
  assert.deepEqual((await rig.service.list(stranger, { limit: 10 })).jobs, []);
  assert.equal((await rig.service.list(admin, { limit: 10 })).jobs.length, 1);
  assert.equal((await rig.service.get(job.id, admin)).id, job.id);
});

test('the view of a job has exact counts, rate, time left and links', async () => {
  const rig = jobRig();
  const job = await rig.submit(documents(8, (i) => (i === 0 ? 'a b c d e f g h i' : 'same size')));
  const queued = jobView(job, job.createdAtMs);
  assert.deepEqual(
    [queued.status, queued.tokensPerSecond, queued.etaSeconds, queued.startedAt],
    ['queued', null, null, null],
  );
  await rig.run({ jobId: job.id, ordinal: 0 });
  const running = await rig.job(job.id);
  const [begun, last] = running.progress!.samples;
  const slow = { ...running.progress!, samples: [{ ...begun!, atMs: last!.atMs - 2000 }, last!] };
  const view = jobView({ ...running, progress: slow }, last!.atMs);
  assert.equal(view.tokensPerSecond, running.tokens / 2);
  const { total, done } = running.textBytes;
  assert.equal(view.etaSeconds, Math.ceil(((total - done) / done) * 2));
  assert.deepEqual(view.links, {
    self: `/jobs/${job.id}`,
    results: `/jobs/${job.id}/results`,
    errors: `/jobs/${job.id}/errors`,
  });
  assert.deepEqual(view.warnings, [
    {
      code: 'truncated',
      message:
        '1 document was longer than a text may be and got cut: to the length of the model, or to MAX_BULK_TEXT_TOKENS.',
    },
  ]);
  await rig.drain();
  const ended = jobView(await rig.job(job.id), Date.now() + 1e6);
  assert.equal(ended.etaSeconds, 0);
  assert.match(ended.finishedAt!, /^\d{4}-\d\d-\d\dT.*Z$/);
});
