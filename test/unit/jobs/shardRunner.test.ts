import assert from 'node:assert/strict';
import test from 'node:test';
import type { EmbedOptions, EncodedText } from '@trivec/core/engine/types';
import { TrivecError } from '@trivec/core/errors';
import { Reconciler } from '@trivec/core/jobs/reconciler';
import { runShard } from '@trivec/core/jobs/shardRunner';
import { ANYONE, documents, jobRig } from '../../support/jobRig.ts';

test('a job runs to its end; documents that fail do so alone and are listed', async () => {
  const rig = jobRig();
  const texts = ['one two', 'poison here', 'three', 'a b c d e f g h i j k', 'five', 'poison'];
  const job = await rig.submit(texts.map((text, i) => ({ id: i, text })));
  await rig.drain();
  const done = await rig.job(job.id);
  assert.equal(done.status, 'completed');
  assert.deepEqual(done.counts, { documents: 6, embedded: 4, written: 0, failed: 2 });
  assert.equal(done.truncated, 1);
  assert.equal(done.tokens, 4 + 3 + 8 + 3);
  assert.deepEqual(
    done.errors.map(({ id, code }) => [id, code]),
    [
      ['1', 'model_failed'],
      ['5', 'model_failed'],
    ],
  );
  const { rows } = await rig.lines(job.id);
  assert.deepEqual(
    rows.map(({ id }) => id),
    ['0', '2', '3', '4'],
  );
  const errors = await Array.fromAsync(await rig.service.errors(job.id, ANYONE));
  assert.deepEqual(errors, done.errors);
  assert.deepEqual(rig.engine.embedCalls[0]?.lane, 'bulk');
});

test('truncate: false fails a text over the limit, and only that one', async () => {
  const rig = jobRig();
  const job = await rig.submit(
    [
      { id: 'a', text: 'one' },
      { id: 'b', text: 'x '.repeat(20) },
    ],
    { truncate: false },
  );
  await rig.drain();
  const done = await rig.job(job.id);
  assert.deepEqual(done.counts, { documents: 2, embedded: 1, written: 0, failed: 1 });
  assert.match(done.errors[0]!.message, /22 tokens.*at most 8/);
  assert.equal(done.errors[0]!.code, 'text_too_long');
});

test('a document whose vectors would not fit into the memory of a worker fails alone, unrun', async () => {
  const rig = jobRig();
  const { id } = await rig.submit(
    [
      { id: 'book', text: 'one two three four '.repeat(20) },
      { id: 'note', text: 'one two' },
    ],
    { outputs: ['dense', 'colbert'], chunking: { maxTokens: 8 } },
  );
  const { ledger, storage, engine, logger } = rig;
  const config = { maxDocumentResultBytes: 300 };
  const deps = { ledger, storage, engine, logger, config };
  const outcome = await runShard(deps, { jobId: id, ordinal: 0 }, new AbortController().signal);
  assert.equal(outcome.stored, true);
  const { counts, errors } = await rig.job(id);
  assert.deepEqual([counts.embedded, counts.failed], [1, 1]);
  assert.deepEqual([errors[0]!.id, errors[0]!.code], ['book', 'text_too_long']);
  assert.match(
    errors[0]!.message,
    /would take .* MiB; at most .* MiB are held for one .*MAX_DOCUMENT_RESULT_BYTES/,
  );
  assert.equal((await rig.lines(id)).rows.length, 1);
});

test('a tokenizer that fails on one text fails that document only', async () => {
  const rig = jobRig();
  const encode = rig.engine.encode.bind(rig.engine);
  rig.engine.encode = async (texts) => {
    if (texts.some((text) => text.includes('cursed'))) throw new Error('panicked');
    return encode(texts);
  };
  const job = await rig.submit([
    { id: 'a', text: 'one' },
    { id: 'b', text: 'cursed' },
    { id: 'c', text: 'three' },
  ]);
  await rig.drain();
  const done = await rig.job(job.id);
  assert.deepEqual(done.counts, { documents: 3, embedded: 2, written: 0, failed: 1 });
  assert.deepEqual(done.errors[0], {
    id: 'b',
    code: 'tokenizer_failed',
    message: 'The tokenizer failed on this text.',
  });
});

test('a job whose documents all failed has failed, with no result file', async () => {
  const rig = jobRig();
  const job = await rig.submit(documents(5, () => 'poison'));
  await rig.drain();
  assert.equal((await rig.job(job.id)).status, 'failed');
  assert.ok([...rig.storage.blobs.keys()].every((key) => !key.endsWith('.arrow')));
  assert.deepEqual((await rig.lines(job.id)).rows, []);
  assert.equal((await Array.fromAsync(await rig.service.errors(job.id, ANYONE))).length, 5);
});

test('two holders of one shard: one is counted, the other leaves nothing', async () => {
  const rig = jobRig();
  const job = await rig.submit(documents(4));
  const pointer = { jobId: job.id, ordinal: 0 };
  const outcomes = await Promise.all([rig.run(pointer), rig.run(pointer), rig.run(pointer)]);
  assert.equal(outcomes.filter(({ stored }) => stored).length, 1);
  assert.deepEqual((await rig.job(job.id)).counts, { documents: 4, embedded: 4, written: 0, failed: 0 });
  const results = [...rig.storage.blobs.keys()].filter((key) => key.startsWith('results/'));
  assert.deepEqual(results, [(await rig.ledger.readShards(job.id, 0, 1))[0]!.resultKey]);
  assert.deepEqual(await rig.run(pointer), { stored: false, reason: 'ended' });
});

test('what may heal is thrown for the queue to try again; nothing is counted', async () => {
  const rig = jobRig();
  const job = await rig.submit(documents(4));
  const pointer = { jobId: job.id, ordinal: 0 };
  const embed = rig.engine.embed.bind(rig.engine);
  for (const code of ['shutting_down', 'model_unavailable'] as const) {
    rig.engine.embed = async () => {
      throw new TrivecError(code, 'not now');
    };
    await assert.rejects(rig.run(pointer), { code });
  }
  rig.engine.embed = embed;
  rig.storage.failPut = () => new TrivecError('storage_full', 'full');
  assert.deepEqual(await rig.run(pointer), { stored: false, reason: 'paused' });
  rig.storage.failPut = undefined;
  await rig.service.resume(job.id, ANYONE);
  assert.equal((await rig.job(job.id)).counts.embedded, 0);
  assert.equal((await rig.run(pointer)).stored, true);
});

test('an engine that breaks on the whole call fails the documents, not the shard for ever', async () => {
  const rig = jobRig();
  const job = await rig.submit(documents(2));
  rig.engine.embed = async () => {
    throw new TrivecError('unknown_output', 'no such head');
  };
  await rig.drain();
  const done = await rig.job(job.id);
  assert.equal(done.status, 'failed');
  assert.deepEqual(
    done.errors.map(({ id, code }) => [id, code]),
    [
      ['d0', 'unknown_output'],
      ['d1', 'unknown_output'],
    ],
  );
});

test('an error that no other try heals fails the documents of the shard at the third, and a retry brings them back', async () => {
  const rig = jobRig();
  const job = await rig.submit(documents(6));
  rig.storage.failPut = (key) =>
    key.startsWith(`results/${job.id}/1.`) && key.endsWith('.arrow')
      ? new TrivecError('internal', 'a fault of ours')
      : undefined;
  const pointer = { jobId: job.id, ordinal: 1 };
  rig.ledger.notes.set(`${job.id}.1`, 'no note at all');
  for (let failures = 1; failures < 3; failures++)
    await assert.rejects(rig.run(pointer), { code: 'internal' });
  assert.equal((await rig.job(job.id)).counts.failed, 0);
  // No room for the list of errors, either: the job waits for it like for any other blob.
  const { failPut } = rig.storage;
  rig.storage.failPut = (key, puts) =>
    key.endsWith('.errors.ndjson') ? new TrivecError('storage_full', 'full') : failPut?.(key, puts);
  assert.deepEqual(await rig.run(pointer), { stored: false, reason: 'paused' });
  rig.storage.failPut = failPut;
  await rig.service.resume(job.id, ANYONE);
  assert.equal((await rig.run(pointer)).stored, true);
  await rig.drain();
  const done = await rig.job(job.id);
  assert.deepEqual([done.status, done.counts.embedded, done.counts.failed], ['completed', 4, 2]);
  assert.deepEqual(
    done.errors.map(({ id, code, message }) => [id, code, message]),
    [
      ['d4', 'internal', 'a fault of ours'],
      ['d5', 'internal', 'a fault of ours'],
    ],
  );
  assert.equal(rig.ledger.notes.size, 0);
  rig.storage.failPut = undefined;
  await rig.service.retry(job.id, ANYONE);
  await rig.drain();
  assert.deepEqual((await rig.job(job.id)).counts, { documents: 6, embedded: 6, written: 0, failed: 0 });
});

test('vectors of another shape fail the documents, instead of being tried for ever', async () => {
  const rig = jobRig();
  const job = await rig.submit(documents(2));
  rig.engine.embed = async (texts) => ({
    vectors: texts.map(() => ({ tokens: 3, dense: new Float32Array(5) })),
    inferMs: 1,
  });
  await rig.drain();
  const done = await rig.job(job.id);
  assert.deepEqual([done.status, done.counts.failed, done.errors[0]!.code], ['failed', 2, 'internal']);
});

test('documents that the storage lost end the job with a failure that says so', async () => {
  const rig = jobRig();
  const job = await rig.submit(documents(6));
  rig.storage.blobs.delete(`input/${job.id}/1.ndjson`);
  await rig.drain();
  const done = await rig.job(job.id);
  assert.deepEqual(done.counts, { documents: 6, embedded: 4, written: 0, failed: 2 });
  assert.match(done.errors[0]!.message, /2 documents of shard 1 are missing/);
});

test('an aborted shard: shutting down gives it back, cancelled ends it', async () => {
  const rig = jobRig();
  const job = await rig.submit(documents(4));
  const pointer = { jobId: job.id, ordinal: 0 };
  const stopping = AbortSignal.abort(new TrivecError('shutting_down', 'stopping'));
  await assert.rejects(rig.run(pointer, stopping), { code: 'shutting_down' });
  const cancelled = AbortSignal.abort(new TrivecError('cancelled', 'gone'));
  assert.deepEqual(await rig.run(pointer, cancelled), { stored: false, reason: 'cancelled' });
});

test('a job that is cancelled meanwhile stops between two batches', async (t) => {
  const rig = jobRig();
  const job = await rig.submit(documents(4));
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  rig.engine.embed = async (texts: readonly EncodedText[], options: EmbedOptions) => {
    await options.onBatch?.([0]);
    await rig.service.cancel(job.id, ANYONE);
    t.mock.timers.tick(2000);
    await options.onBatch?.([1]);
    assert.fail(`${texts.length} texts went on after the job was cancelled`);
  };
  assert.deepEqual(await rig.run({ jobId: job.id, ordinal: 0 }), { stored: false, reason: 'cancelled' });
});

test('cancel frees what waits, keeps what is done, and cannot be undone', async () => {
  const rig = jobRig();
  const job = await rig.submit(documents(12));
  await rig.run({ jobId: job.id, ordinal: 1 });
  const cancelled = await rig.service.cancel(job.id, ANYONE);
  assert.equal(cancelled.status, 'cancelled');
  assert.deepEqual([...rig.queue.items.keys()], [`${job.id}.1.embed`]);
  assert.deepEqual(await rig.run({ jobId: job.id, ordinal: 0 }), { stored: false, reason: 'cancelled' });
  assert.deepEqual(
    (await rig.lines(job.id)).rows.map(({ id }) => id),
    ['d4', 'd5', 'd6', 'd7'],
  );
  assert.equal((await rig.service.cancel(job.id, ANYONE)).status, 'cancelled');
  await assert.rejects(rig.service.resume(job.id, ANYONE), { code: 'job_conflict' });
});

test('pause begins nothing new, resume goes on', async () => {
  const rig = jobRig();
  const job = await rig.submit(documents(8));
  assert.equal((await rig.service.pause(job.id, ANYONE)).status, 'paused');
  assert.equal(rig.queue.items.size, 0);
  assert.deepEqual(await rig.run({ jobId: job.id, ordinal: 0 }), { stored: false, reason: 'paused' });
  await new Reconciler(rig.deps).reconcile();
  assert.equal(rig.queue.items.size, 0);
  assert.equal((await rig.service.resume(job.id, ANYONE)).status, 'queued');
  await rig.drain();
  assert.equal((await rig.job(job.id)).status, 'completed');
  await assert.rejects(rig.service.pause(job.id, ANYONE), { code: 'job_conflict' });
});

test('delete removes all of a job, also while it runs', async () => {
  const rig = jobRig();
  const job = await rig.submit(documents(12));
  await rig.run({ jobId: job.id, ordinal: 0 });
  const embed = rig.engine.embed.bind(rig.engine);
  rig.engine.embed = async (texts, options) => {
    const result = await embed(texts, options);
    await rig.service.delete(job.id, ANYONE);
    return result;
  };
  assert.deepEqual(await rig.run({ jobId: job.id, ordinal: 1 }), { stored: false, reason: 'gone' });
  assert.deepEqual([...rig.storage.blobs.keys()], []);
  assert.deepEqual([...rig.ledger.jobs.keys()], []);
  await assert.rejects(rig.service.get(job.id, ANYONE), { code: 'job_not_found' });
});
