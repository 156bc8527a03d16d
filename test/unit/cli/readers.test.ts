import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { formatOf, openRecords } from '../../../apps/cli/src/readers/open.ts';
import type { InputFormat, SourceRecord } from '../../../apps/cli/src/readers/recordFile.ts';

const PARQUET = fileURLToPath(new URL('../../fixtures/three-rows.parquet', import.meta.url));

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'trivec-readers-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function file(t: TestContext, name: string, content: string | Uint8Array): string {
  const path = join(folder(t), name);
  writeFileSync(path, content);
  return path;
}

async function read(
  path: string,
  options: { format?: InputFormat; fields?: string[]; maxLineBytes?: number } = {},
): Promise<SourceRecord[]> {
  const opened = await openRecords(path, { maxLineBytes: 1000, ...options });
  const records: SourceRecord[] = [];
  for await (const record of opened.records()) records.push(record);
  const { done, total } = opened.progress();
  assert.equal(done, total, 'all of the file was counted');
  return records;
}

const plain = (records: SourceRecord[]) => records.map(({ position, fields }) => [position, { ...fields }]);

test('the name says the format', () => {
  assert.equal(formatOf('a/passages.ndjson'), 'ndjson');
  assert.equal(formatOf('X.JSONL.GZ'), 'ndjson');
  assert.equal(formatOf('x.csv.gz'), 'csv');
  assert.equal(formatOf('x.tsv'), 'tsv');
  assert.equal(formatOf('x.parquet'), 'parquet');
  assert.throws(() => formatOf('x.txt'), { code: 'invalid_request', message: /--input-format/ });
  assert.throws(() => formatOf('noextension'), { code: 'invalid_request' });
  assert.throws(() => formatOf('x.json'), { message: /jq -c/ });
});

test('NDJSON: positions are lines, blank ones counted; U+2028 does not end a line', async (t) => {
  const path = file(t, 'a.ndjson', '\ufeff{"id":1,"text":"a\u2028b"}\r\n\n{"id":2}');
  assert.deepEqual(plain(await read(path)), [
    [1, { id: 1, text: 'a\u2028b' }],
    [3, { id: 2 }],
  ]);
});

test('gzipped NDJSON and CSV', async (t) => {
  assert.deepEqual(plain(await read(file(t, 'a.ndjson.gz', gzipSync('{"id":"x"}\n')))), [[1, { id: 'x' }]]);
  assert.deepEqual(plain(await read(file(t, 'a.csv.gz', gzipSync('id,text\n1,one\n')))), [
    [2, { id: '1', text: 'one' }],
  ]);
});

test('CSV: records after values of several lines keep their lines, whichever way lines end', async (t) => {
  for (const end of ['\n', '\r\n', '\r']) {
    const csv = ['id,text', 'a,one', '"b","two', 'lines"', 'c,x', '"d","p', 'q', 'r"', 'e,z', ''].join(end);
    const records = plain(await read(file(t, 'a.csv', csv)));
    assert.deepEqual(
      records.map(([line]) => line),
      [2, 3, 5, 6, 9],
    );
  }
});

test('CSV: quoted delimiters, quotes and line breaks; positions are the lines where records start', async (t) => {
  const csv = '\ufeffid,title,text\r\n1,"a, ""b""","two\nlines"\r\n\r\n2,c,d\r\n';
  assert.deepEqual(plain(await read(file(t, 'a.csv', csv))), [
    [2, { id: '1', title: 'a, "b"', text: 'two\nlines' }],
    [5, { id: '2', title: 'c', text: 'd' }],
  ]);
});

test('TSV', async (t) => {
  assert.deepEqual(plain(await read(file(t, 'a.tsv', 'id\ttext\n1\ta, b\n'))), [
    [2, { id: '1', text: 'a, b' }],
  ]);
});

test('Parquet: row groups in order, only the fields asked for', async () => {
  const all = await read(PARQUET);
  assert.equal(all.length, 3);
  assert.deepEqual(
    all.map(({ position, fields }) => [position, fields.id, fields.title, fields.text, fields.year]),
    [
      [1, 7n, 'first', 'one', 1999],
      [2, 8n, 'second', 'two', 2000],
      [3, 9007199254740993n, null, 'three', null],
    ],
  );
  assert.ok(all[0]!.fields.seen instanceof Date);
  const some = await read(PARQUET, { fields: ['id', 'text'] });
  assert.deepEqual(Object.keys(some[0]!.fields), ['id', 'text']);
});

test('what cannot be read says where', async (t) => {
  const cases: [string, string | Uint8Array, RegExp][] = [
    ['a.ndjson', '{"id":1}\nnot json\n', /^Line 2 is not JSON\.$/],
    ['a.ndjson', '[1]\n', /^Line 1 is not a JSON object\.$/],
    ['a.ndjson', Buffer.from([0x7b, 0xff, 0x7d]), /^Line 1 is not valid UTF-8\.$/],
    ['a.ndjson', `{"id":"${'x'.repeat(1000)}"}`, /longer than 1000 bytes \(MAX_LINE_BYTES\)/],
    ['a.csv', 'id,text\n1,"open\n', /^Not readable as CSV: Quote Not Closed/],
    ['a.csv', 'id,text\n1,2,3\n', /^Not readable as CSV: Invalid Record Length/],
    ['a.csv', 'id,text,id\n1,2,3\n', /^Two columns are named "id"/],
    ['a.csv', `id,text\n1,${'x'.repeat(2000)}\n`, /Max Record Size/],
    ['a.ndjson.gz', '{"id":1}\n', /^Not readable as gzip/],
    ['a.parquet', 'PAR0 this is not one', /is not a Parquet file/],
  ];
  for (const [name, content, message] of cases) {
    const path = file(t, name, content);
    await assert.rejects(read(path), (error: Error) => {
      assert.equal(error.name, 'TrivecError', `${name}: ${error.stack}`);
      assert.match(error.message, message);
      return true;
    });
  }
});

test('a file that is not there, a folder, a Parquet pipe', async (t) => {
  const open = (path: string, format?: InputFormat) =>
    openRecords(path, { maxLineBytes: 1000, ...(format && { format }) });
  await assert.rejects(open(join(folder(t), 'none.csv')), { message: /^There is no file .*none\.csv\.$/ });
  await assert.rejects(open(folder(t), 'csv'), { message: /is a folder/ });
  await assert.rejects(open(folder(t)), { message: /is a folder: give one file, NDJSON,.*cat .*\*\.ndjson/ });
  await assert.rejects(open('-', 'parquet'), { message: /cannot be read from a pipe/ });
});
