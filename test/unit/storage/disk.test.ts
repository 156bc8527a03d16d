import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import { DiskStorage, storageError } from '@trivec/core/storage/disk';
import { openStorage } from '@trivec/core/storage/open';

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'trivec-disk-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

async function keysUnder(storage: DiskStorage, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of storage.list(prefix)) keys.push(key);
  return keys.sort();
}

test('blobs are put, read, listed and deleted by key and by prefix', async (t) => {
  const storage = await DiskStorage.open(await folder(t));
  const names = Array.from({ length: 20 }, (_, i) => `input/job_${i % 2}/${i}.ndjson`);
  await Promise.all(names.map((name) => storage.put(name, Buffer.from(name))));
  assert.deepEqual((await storage.get(names[3]!))?.toString(), names[3]);
  assert.equal(await storage.get('input/job_0/none'), undefined);
  assert.equal((await keysUnder(storage, 'input/')).length, 20);
  assert.deepEqual(await keysUnder(storage, 'nothing/'), []);
  await storage.put(names[0]!, Buffer.from('again'));
  assert.equal((await storage.get(names[0]!))?.toString(), 'again');
  const parts: Buffer[] = [];
  for await (const part of (await storage.stream(names[1]!))!) parts.push(part);
  assert.equal(Buffer.concat(parts).toString(), names[1]);
  await storage.delete([names[0]!, 'input/job_0/none']);
  assert.equal((await keysUnder(storage, 'input/job_0/')).length, 9);
  await storage.deletePrefix('input/job_1/');
  await storage.deletePrefix('input/job_1/');
  assert.equal((await keysUnder(storage, 'input/')).length, 9);
});

test('no key leaves the folder', async (t) => {
  const storage = await DiskStorage.open(await folder(t));
  for (const key of ['../a', 'a/../b', '/etc/passwd', '', 'a//b', '.tmp/x', 'a/.', 'a\0', 'a b', 'a\\b'])
    await assert.rejects(storage.put(key, Buffer.from('x')), { code: 'internal' }, JSON.stringify(key));
  await assert.rejects(storage.deletePrefix('/'), { code: 'internal' });
  await assert.rejects(storage.deletePrefix('../'), { code: 'internal' });
  await assert.rejects(storage.deletePrefix('input'), { code: 'internal' });
});

test('an open sweeps what a dead writer left half-written, and leaves what may still be written', async (t) => {
  const path = await folder(t);
  await (await DiskStorage.open(path)).close();
  await writeFile(join(path, '.tmp', 'old'), 'half');
  await writeFile(join(path, '.tmp', 'young'), 'half');
  await utimes(join(path, '.tmp', 'old'), new Date(), new Date(Date.now() - 2 * 3600_000));
  await DiskStorage.open(path);
  assert.deepEqual(await readdir(join(path, '.tmp')), ['young']);
});

test('a put that fails leaves no temporary file and says what is wrong', async (t) => {
  const path = await folder(t);
  const storage = await DiskStorage.open(path);
  // A file where a folder should be: the rename cannot work.
  await writeFile(join(path, 'input'), '');
  await assert.rejects(storage.put('input/a', Buffer.from('x')), {
    code: 'storage_unavailable',
    retryable: true,
  });
  assert.deepEqual(await readdir(join(path, '.tmp')), []);
});

test('a full disk is storage_full', { skip: process.platform !== 'linux' && 'needs /dev/full' }, async () => {
  const full = await writeFile('/dev/full', 'x').catch((error: unknown) => error);
  assert.equal(storageError(full).code, 'storage_full');
});

test('STORAGE_URL names a folder; without one it is DATA_DIR/blobs', async (t) => {
  const dataDir = await folder(t);
  assert.equal((await openStorage({ dataDir, storageUrl: undefined })).description, join(dataDir, 'blobs'));
  const other = join(dataDir, 'else where');
  const storageUrl = pathToFileURL(other).href;
  assert.equal((await openStorage({ dataDir, storageUrl })).description, other);
  await assert.rejects(openStorage({ dataDir, storageUrl: 's3://bucket?key=secret' }), {
    code: 'invalid_config',
  });
  await assert.rejects(openStorage({ dataDir, storageUrl: 'file://host/path' }), { code: 'invalid_config' });
});
