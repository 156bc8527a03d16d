import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import test from 'node:test';
import { TrivecError } from '@trivec/core/errors';
import { newJobId } from '@trivec/core/jobs/keys';
import type { JobRecord, ShardRecord } from '@trivec/core/jobs/records';
import { idempotencyDigest, withDigest } from '@trivec/core/ledger/idempotency';
import type { TestBackends } from '../../support/backends.ts';

function job(overrides: Partial<JobRecord> = {}): JobRecord {
  return {
    id: randomUUID(),
    version: 1,
    owner: 'anonymous',
    status: 'queued',
    model: { name: 'mini', fingerprint: 'f' },
    // NUL and a lone surrogate: a client may send them, and Postgres's jsonb would refuse them
    options: { outputs: ['dense'], normalize: true, truncate: true, metadata: { odd: 'a\u0000b\ud800' } },
    counts: { documents: 0, embedded: 0, written: 0, failed: 0 },
    tokens: 0,
    truncated: 0,
    textBytes: { total: 0, done: 0 },
    shards: { total: 0, stored: 0, written: 0 },
    errors: [],
    createdAtMs: 1_800_000_000_000,
    ...overrides,
  };
}

function shards(count: number): ShardRecord[] {
  return Array.from({ length: count }, (_, ordinal) => ({
    ordinal,
    state: 'pending',
    documents: 2,
    textBytes: 10,
    inputKey: `jobs/x/in/${ordinal}.ndjson`,
  }));
}

/** What every LedgerStore does. */
export function ledgerContract(backends: TestBackends): void {
  const ledger = async () => (await backends.backend()).ledger;

  test('a job exists from its commit on, with the shards put before', async () => {
    const store = await ledger();
    const record = job();
    await store.putShards(record.id, shards(2_500));
    assert.equal(await store.readJob(record.id), undefined);
    await store.commitJob(record);
    assert.deepEqual(await store.readJob(record.id), record);
    assert.deepEqual(await store.readShards(record.id, 0, 3), shards(3));
    assert.deepEqual(
      (await store.readShards(record.id, 990, 1_600)).map(({ ordinal }) => ordinal),
      Array.from({ length: 1_510 }, (_, index) => 990 + index),
    );
    assert.deepEqual(await store.readShards(record.id, 2_500, 10), []);
    assert.deepEqual(await store.readShards(randomUUID(), 0, 10), []);
  });

  test('committing again changes nothing', async () => {
    const store = await ledger();
    const record = job();
    await store.commitJob(record);
    assert.equal(await store.compareAndSwap({ ...record, status: 'running' }), true);
    await store.commitJob(record);
    assert.equal((await store.readJob(record.id))?.status, 'running');
  });

  test('compare-and-set writes job and shards together, or neither', async () => {
    const store = await ledger();
    const record = job();
    await store.putShards(record.id, shards(3));
    await store.commitJob(record);
    const stored: ShardRecord = { ...shards(3)[1]!, state: 'stored', resultKey: 'k1' };
    assert.equal(await store.compareAndSwap({ ...record, tokens: 7 }, [stored]), true);
    const after = await store.readJob(record.id);
    assert.deepEqual(after, { ...record, tokens: 7, version: 2 });
    const loser: ShardRecord = { ...stored, resultKey: 'k2' };
    assert.equal(await store.compareAndSwap({ ...record, tokens: 9 }, [loser]), false);
    assert.deepEqual(await store.readJob(record.id), after);
    assert.deepEqual(await store.readShards(record.id, 0, 9), [shards(3)[0], stored, shards(3)[2]]);
    assert.equal(await store.compareAndSwap(job()), false, 'a job that is not there');
  });

  test('of many racing writers exactly one wins each version', async () => {
    const store = await ledger();
    const record = job();
    await store.commitJob(record);
    const addOne = async () => {
      for (;;) {
        const current = (await store.readJob(record.id))!;
        if (await store.compareAndSwap({ ...current, tokens: current.tokens + 1 })) return;
      }
    };
    await Promise.all(Array.from({ length: 20 }, addOne));
    const after = (await store.readJob(record.id))!;
    assert.equal(after.tokens, 20);
    assert.equal(after.version, 21);
  });

  test('lists newest first, page by page, all or of one owner', async () => {
    const store = await ledger();
    const owner = randomUUID();
    const records = Array.from({ length: 7 }, (_, index) =>
      // pairs share a millisecond: the id decides
      job({ owner, createdAtMs: 1_900_000_000_000 + Math.floor(index / 2), id: `list-${index}-${owner}` }),
    );
    for (const record of records) await store.commitJob(record);
    await store.commitJob(job({ createdAtMs: 1_900_000_000_001 }));
    const expected = records.map(({ id }) => id).reverse();

    const paged: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await store.listJobs({ owner, limit: 3, ...(cursor === undefined ? {} : { cursor }) });
      assert.ok(page.jobs.length <= 3);
      paged.push(...page.jobs.map(({ id }) => id));
      cursor = page.cursor;
    } while (cursor !== undefined);
    assert.deepEqual(paged, expected);

    const everyone = await store.listJobs({ limit: 1_000 });
    assert.equal(everyone.cursor, undefined);
    const ids = everyone.jobs.map(({ id }) => id);
    assert.deepEqual(
      ids.filter((id) => id.startsWith('list-')),
      expected,
    );
    assert.ok(ids.length > expected.length);
    await assert.rejects(
      store.listJobs({ limit: 3, cursor: 'nonsense' }),
      (error) => error instanceof TrivecError && error.code === 'invalid_cursor',
    );
  });

  test('open jobs are those queued, running or paused', async () => {
    const store = await ledger();
    const record = job();
    await store.commitJob(record);
    assert.ok((await store.listOpenJobs()).includes(record.id));
    await store.compareAndSwap({ ...record, status: 'paused' });
    assert.ok((await store.listOpenJobs()).includes(record.id));
    await store.compareAndSwap({ ...record, version: 2, status: 'completed' });
    assert.ok(!(await store.listOpenJobs()).includes(record.id));
    await store.compareAndSwap({ ...record, version: 3, status: 'running' });
    assert.ok((await store.listOpenJobs()).includes(record.id), 'opened again');
  });

  test('an idempotency key belongs to the first job that commits under it, until that job is deleted', async () => {
    const store = await ledger();
    const owner = randomUUID();
    const digest = idempotencyDigest(owner, 'key');
    const keyed = (n: number): JobRecord =>
      job({
        id: withDigest(newJobId(1_900_000_000_000 + n), digest),
        owner,
        idempotency: { digest, request: String(n) },
      });
    assert.equal(await store.readKeyedJob(digest), undefined);
    const rivals = Array.from({ length: 8 }, (_, n) => keyed(n));
    for (const rival of rivals) await store.putShards(rival.id, shards(1));
    const answers = new Set(await Promise.all(rivals.map((rival) => store.commitJob(rival))));
    assert.equal(answers.size, 1, 'all are told the same winner');
    const winner = rivals.find(({ id }) => answers.has(id))!;
    assert.deepEqual(await store.readKeyedJob(digest), winner);
    for (const rival of rivals)
      if (rival !== winner) {
        assert.equal(await store.readJob(rival.id), undefined);
        await store.deleteJob(rival.id);
      }
    assert.deepEqual(await store.listJobs({ owner, limit: 9 }), { jobs: [winner] });
    assert.equal(await store.commitJob(winner), winner.id, 'committing again changes nothing');
    assert.equal(await store.commitJob(rivals.find((rival) => rival !== winner)!), winner.id);
    await store.deleteJob(winner.id);
    assert.equal(await store.readKeyedJob(digest), undefined);
    const next = keyed(100);
    assert.equal(await store.commitJob(next), next.id, 'the key is free again');
    assert.deepEqual(await store.readKeyedJob(digest), next);
    await store.deleteJob(next.id);
  });

  test('a note is of one shard, the last one stays, and it goes with its job', async () => {
    const store = await ledger();
    const record = job();
    await store.commitJob(record);
    assert.equal(await store.readNote(record.id, 0), undefined);
    await store.writeNote(record.id, 0, 'first');
    await store.writeNote(record.id, 0, 'second');
    await store.writeNote(record.id, 1, 'of another');
    assert.equal(await store.readNote(record.id, 0), 'second');
    await store.writeNote(record.id, 0, undefined);
    await store.writeNote(record.id, 7, undefined);
    assert.equal(await store.readNote(record.id, 0), undefined);
    assert.equal(await store.readNote(record.id, 1), 'of another');
    await store.deleteJob(record.id);
    assert.equal(await store.readNote(record.id, 1), undefined);
  });

  test('an ended job whose webhook is still to be told is open', async () => {
    const store = await ledger();
    const delivery = { state: 'pending', attempts: 0, nextAtMs: 1 } as const;
    const webhook = { url: 'https://example.org', secret: '', closings: 1, delivery };
    const record = job({ status: 'completed', webhook });
    await store.commitJob(record);
    assert.ok((await store.listOpenJobs()).includes(record.id));
    const told = {
      ...record,
      webhook: { ...webhook, delivery: { ...delivery, state: 'delivered' as const } },
    };
    assert.ok(await store.compareAndSwap(told));
    assert.ok(!(await store.listOpenJobs()).includes(record.id));
    await store.deleteJob(record.id);
  });

  test('deleting takes job, shards and list entries, also of a job never committed', async () => {
    const store = await ledger();
    const owner = randomUUID();
    const record = job({ owner });
    await store.putShards(record.id, shards(3));
    await store.commitJob(record);
    await store.deleteJob(record.id);
    await store.deleteJob(record.id);
    assert.equal(await store.readJob(record.id), undefined);
    assert.deepEqual(await store.readShards(record.id, 0, 9), []);
    assert.deepEqual(await store.listJobs({ owner, limit: 9 }), { jobs: [] });
    assert.ok(!(await store.listOpenJobs()).includes(record.id));
    const orphan = randomUUID();
    await store.putShards(orphan, shards(3));
    await store.deleteJob(orphan);
    assert.deepEqual(await store.readShards(orphan, 0, 9), []);
  });
}
