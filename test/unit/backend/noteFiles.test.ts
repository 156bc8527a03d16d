import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { NoteFiles } from '@trivec/core/ledger/noteFiles';

test('notes outlive their process; those of jobs that are gone, and halves, do not', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'trivec-notes-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const before = await NoteFiles.open(folder, async () => true);
  await before.write('here', 3, 'first');
  await before.write('here', 3, 'last');
  await before.write('gone', 0, 'of nobody');
  await writeFile(join(folder, 'half.draft'), 'la');

  const after = await NoteFiles.open(folder, async (jobId) => jobId === 'here');
  assert.equal(await after.read('here', 3), 'last');
  assert.deepEqual(await readdir(folder), ['here.3']);
  await after.write('here', 12, 'another');
  await after.write('here.1', 2, 'of a job with a longer id');
  await after.removeAll('here');
  assert.deepEqual(await readdir(folder), ['here.1.2']);
  await after.remove('here.1', 2);
  await after.remove('here.1', 2);
  assert.equal(await after.read('here.1', 2), undefined);
});

test('a note that cannot be written leaves no half', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'trivec-notes-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const notes = await NoteFiles.open(folder, async () => true);
  await mkdir(join(folder, 'here.3'));
  await assert.rejects(notes.write('here', 3, 'note'), { code: 'backend_unavailable' });
  assert.deepEqual(await readdir(folder), ['here.3']);
});

test('a folder that is none is backend_unavailable', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'trivec-notes-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, 'file'), '');
  await assert.rejects(
    NoteFiles.open(join(folder, 'file'), async () => true),
    { code: 'backend_unavailable' },
  );
});
