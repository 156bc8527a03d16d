import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import type { BlobStore } from '@trivec/core/storage/blobStore';
import { openStorage } from '@trivec/core/storage/open';
import { parseS3Url } from '@trivec/core/storage/s3';
import { type S3Double, startS3Double } from '../../support/s3Double.ts';

const AWS = { awsAccessKeyId: 'test', awsSecretAccessKey: 'secret', awsSessionToken: undefined };

async function s3(t: TestContext, path = ''): Promise<{ storage: BlobStore; server: S3Double }> {
  const server = await startS3Double('bucket');
  t.after(() => server.close());
  const storageUrl = `s3://bucket${path}?endpoint=${encodeURIComponent(server.url)}&region=eu-test-1`;
  const storage = await openStorage({ storageUrl, dataDir: '', ...AWS });
  t.after(() => storage.close());
  return { storage, server };
}

async function disk(t: TestContext): Promise<{ storage: BlobStore }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'trivec-storage-'));
  t.after(() => rm(dataDir, { recursive: true, force: true }));
  return { storage: await openStorage({ storageUrl: undefined, dataDir, ...AWS }) };
}

const kinds: Record<string, (t: TestContext) => Promise<{ storage: BlobStore }>> = {
  disk,
  s3,
  's3 with a prefix': (t) => s3(t, '/some/place'),
  // A server that is no double of ours: s3://BUCKET?endpoint=URL, whose bucket is there, for user "test" and "secret".
  ...(process.env.TRIVEC_TEST_S3 !== undefined && {
    's3 of TRIVEC_TEST_S3': (t) => realS3(t, process.env.TRIVEC_TEST_S3!),
  }),
};

let places = 0;

/** Each test has a prefix of its own. */
async function realS3(t: TestContext, url: string): Promise<{ storage: BlobStore }> {
  const at = new URL(url);
  at.pathname += `/trivec-test-${process.pid}-${places++}`;
  const storage = await openStorage({ storageUrl: at.href, dataDir: '', ...AWS });
  t.after(() => storage.close());
  return { storage };
}

for (const [kind, open] of Object.entries(kinds)) {
  test(`${kind}: blobs are put, read, streamed, listed and deleted`, async (t) => {
    const { storage } = await open(t);
    const names = Array.from({ length: 20 }, (_, i) => `input/job_${i % 2}/${i}.ndjson`);
    const before = Date.now() - 2000;
    await Promise.all(names.map((name) => storage.put(name, Buffer.from(name))));
    assert.equal(String(await storage.get(names[3]!)), names[3]);
    assert.equal(await storage.get('input/job_0/none'), undefined);
    assert.equal(await storage.stream('input/job_0/none'), undefined);
    const parts = await Array.fromAsync((await storage.stream(names[1]!))!);
    assert.equal(Buffer.concat(parts).toString(), names[1]);
    const listed = await Array.fromAsync(storage.list('input/'));
    assert.deepEqual(listed.map(({ key }) => key).sort(), [...names].sort());
    for (const { key, bytes, modifiedAtMs } of listed) {
      assert.equal(bytes, key.length);
      assert.ok(modifiedAtMs > before && modifiedAtMs < Date.now() + 2000);
    }
    assert.deepEqual(await Array.fromAsync(storage.list('input/job/')), [], 'a prefix is a folder');
    await storage.put(names[0]!, Buffer.from('again'));
    assert.equal(String(await storage.get(names[0]!)), 'again');
    await storage.put('results/empty', new Uint8Array(0));
    assert.equal((await storage.get('results/empty'))?.length, 0);
    await storage.delete([names[0]!, 'input/job_0/none']);
    assert.equal((await Array.fromAsync(storage.list('input/job_0/'))).length, 9);
    await storage.deletePrefix('input/job_1/');
    await storage.deletePrefix('input/job_1/');
    assert.equal((await Array.fromAsync(storage.list('input/'))).length, 9);
  });

  test(`${kind}: what is no key is refused`, async (t) => {
    const { storage } = await open(t);
    for (const key of ['../a', 'a/../b', '/a', '', 'a//b', 'a/.', 'a\0', 'a b'])
      await assert.rejects(storage.put(key, Buffer.from('x')), { code: 'internal' }, JSON.stringify(key));
    await assert.rejects(storage.deletePrefix('input'), { code: 'internal' });
  });
}

test('s3: objects lie under the prefix, and it is described without a secret', async (t) => {
  const { storage, server } = await s3(t, '/some/place');
  await storage.put('input/a', Buffer.from('x'));
  assert.deepEqual([...server.objects.keys()], ['some/place/input/a']);
  assert.equal(storage.description, 's3://bucket/some/place/');
});

test('s3: what may heal is tried again, then told; a full bucket is full', async (t) => {
  const { storage, server } = await s3(t);
  server.failNext(2, 503, 'SlowDown');
  await storage.put('input/a', Buffer.from('x'));
  server.failNext(4, 500, 'InternalError');
  await assert.rejects(storage.get('input/a'), {
    code: 'storage_unavailable',
    message: /InternalError \(500\)/,
  });
  assert.equal(String(await storage.get('input/a')), 'x');
  server.failNext(4, 507, 'XMinioStorageFull');
  await assert.rejects(storage.put('input/b', Buffer.from('x')), { code: 'storage_full' });
  await server.close();
  await assert.rejects(storage.get('input/a'), { code: 'storage_unavailable' });
});

test('s3: a wrong bucket, wrong credentials or a malformed URL stop the start', async (t) => {
  const server = await startS3Double('bucket');
  t.after(() => server.close());
  const open = (bucket: string, more = {}) =>
    openStorage({ storageUrl: `s3://${bucket}?endpoint=${server.url}`, dataDir: '', ...AWS, ...more });
  await assert.rejects(open('other'), { code: 'invalid_config', message: /no bucket other/ });
  await assert.rejects(open('bucket', { awsAccessKeyId: 'wrong' }), {
    code: 'invalid_config',
    message: /refuses these credentials/,
  });
  for (const url of [
    's3://',
    's3:///x',
    's3://b/../..%2f',
    's3://b?key=1',
    's3://b?endpoint=ftp://x',
    's3://u@b',
  ])
    assert.throws(() => parseS3Url(url), { code: 'invalid_config' }, url);
  assert.deepEqual(parseS3Url('s3://b/x/y/?region=r'), { bucket: 'b', prefix: 'x/y/', region: 'r' });
});
