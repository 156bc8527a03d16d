import assert from 'node:assert/strict';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { after } from 'node:test';
import { lockDataDir } from '@trivec/core/backend/dataDirLock';
import { POSTGRES_MAJOR } from '@trivec/core/backend/embeddedPostgres';
import { openBackend } from '@trivec/core/backend/open';
import { loadConfig } from '@trivec/core/config';
import { TrivecError } from '@trivec/core/errors';
import type { ShardRecord } from '@trivec/core/jobs/records';
import { silentLogger, temporaryDataDir } from '../../support/backends.ts';
import { until } from '../../support/gate.ts';
import { startHolder } from '../../support/holderProcess.ts';

const items = Array.from({ length: 6 }, (_, ordinal) => ({
  id: `a.${ordinal}.embed`,
  data: { jobId: 'a', ordinal },
  fairOffset: ordinal,
}));
const shard: ShardRecord = { ordinal: 0, state: 'pending', documents: 1, textBytes: 1, inputKey: 'k' };

const folder = await temporaryDataDir();
after(folder.remove);
const { dataDir } = folder;
const config = loadConfig({ DATA_DIR: dataDir, LOCK_DURATION_MS: '600000' });

test('what a killed process had taken waits again at once, and nothing is lost', async () => {
  // what a process leaves that died while it made the database: it is made anew
  await mkdir(join(dataDir, 'postgres'), { recursive: true, mode: 0o700 });
  await writeFile(join(dataDir, 'postgres', 'PG_VERSION'), `${POSTGRES_MAJOR}\n`);
  await writeFile(join(dataDir, 'postgres.making'), '');
  const first = await openBackend(config, silentLogger);
  await first.shardQueue('held').add(items);
  await first.ledger.putShards('a', [shard]);
  await first.close();
  await first.close();

  const holder = await startHolder({
    DATA_DIR: dataDir,
    BACKEND_URL: 'embedded',
    LOCK_DURATION_MS: '600000',
  });
  try {
    await until(() => holder.lines.filter((line) => line === 'taken').length === 2, 'two are taken');
    await assert.rejects(openBackend(config, silentLogger), (error: TrivecError) => {
      assert.ok(error instanceof TrivecError);
      assert.equal(error.code, 'data_dir_in_use');
      assert.match(error.message, new RegExp(`process ${holder.pid} since \\d{4}-`));
      return true;
    });
  } finally {
    await holder.kill9();
  }

  const second = await openBackend(config, silentLogger);
  try {
    const queue = second.shardQueue('held');
    assert.deepEqual(await queue.counts(), { waiting: 6, active: 0, delayed: 0 });
    assert.deepEqual(await second.ledger.readShards('a', 0, 9), [shard]);
    const seen = new Set<string>();
    await queue.consume(async ({ id }) => void seen.add(id), { concurrency: 2 });
    await until(async () => (await queue.present(items.map(({ id }) => id))).size === 0, 'all are done');
    assert.deepEqual(seen, new Set(items.map(({ id }) => id)));
  } finally {
    await second.close();
  }
  const late = second.ledger.readJob('a');
  await assert.rejects(late, (error: TrivecError) => error.code === 'backend_unavailable');
});

test('a database of another Postgres is refused by name', async () => {
  const { dataDir: other, remove } = await temporaryDataDir();
  try {
    await mkdir(join(other, 'postgres'));
    await writeFile(join(other, 'postgres', 'PG_VERSION'), '12\n');
    await writeFile(join(other, 'postgres.ready'), '');
    await assert.rejects(
      openBackend(loadConfig({ DATA_DIR: other }), silentLogger),
      (error: TrivecError) =>
        error.code === 'invalid_config' &&
        error.message.includes('Postgres 12') &&
        error.message.includes(`Postgres ${POSTGRES_MAJOR}`),
    );
  } finally {
    await remove();
  }
});

test('a folder of that name that trivec did not make is refused, and left alone', async () => {
  const { dataDir: other, remove } = await temporaryDataDir();
  try {
    const theirs = join(other, 'postgres', 'base');
    await mkdir(join(other, 'postgres'));
    await writeFile(theirs, 'rows');
    for (let start = 0; start < 2; start++)
      await assert.rejects(
        openBackend(loadConfig({ DATA_DIR: other }), silentLogger),
        (error: TrivecError) => error.code === 'invalid_config' && /left alone/.test(error.message),
      );
    assert.equal(await readFile(theirs, 'utf8'), 'rows');
  } finally {
    await remove();
  }
});

test('DATA_DIR is made for its owner only, and given back', async () => {
  const { dataDir: other, remove } = await temporaryDataDir();
  try {
    const made = join(other, 'made', 'here');
    const lock = lockDataDir(made);
    assert.equal((await stat(made)).mode & 0o777, 0o700);
    assert.throws(
      () => lockDataDir(made),
      (error: TrivecError) => error.code === 'data_dir_in_use',
    );
    lock.close();
    lock.close();
    lockDataDir(made).close();
  } finally {
    await remove();
  }
});

test('a DATA_DIR that is a file is a configuration error', async () => {
  const { dataDir: other, remove } = await temporaryDataDir();
  try {
    const file = join(other, 'file');
    await writeFile(file, '');
    await assert.rejects(
      openBackend(loadConfig({ DATA_DIR: file }), silentLogger),
      (error: TrivecError) => error.code === 'invalid_config' && error.param === 'DATA_DIR',
    );
  } finally {
    await remove();
  }
});
