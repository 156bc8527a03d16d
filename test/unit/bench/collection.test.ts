import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { CollectionError, openCollection } from '../../../bench/quality/collection.ts';

const GOOD = {
  'corpus.jsonl':
    '{"id":"d1","title":"Ice","text":"It melts."}\n\n{"id":2,"text":"Line separators \u2028 are text."}\n',
  'queries.jsonl': '{"id":"q1","text":"ice"}\n{"id":"q2","text":"not judged"}\n',
  'qrels.tsv': 'query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\t2\t0\n',
};

function folder(t: TestContext, files: Record<string, string>): string {
  const path = mkdtempSync(join(tmpdir(), 'trivec-collection-'));
  t.after(() => rmSync(path, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), content);
  }
  return path;
}

async function readAll(path: string) {
  const { documents, queries, qrels } = await openCollection(path);
  return {
    documents: await Array.fromAsync(documents()),
    queries: Object.fromEntries(queries),
    qrels: Object.fromEntries(Array.from(qrels, ([query, of]) => [query, Object.fromEntries(of)])),
  };
}

const EXPECTED = {
  documents: [
    { id: 'd1', text: 'Ice It melts.' },
    { id: '2', text: 'Line separators \u2028 are text.' },
  ],
  queries: { q1: 'ice' },
  qrels: { q1: { d1: 2, '2': 0 } },
};

test('the plain layout: titles before texts, only judged queries', async (t) => {
  assert.deepEqual(await readAll(folder(t, GOOD)), EXPECTED);
});

test("BEIR's layout: qrels in a folder, _id, empty titles", async (t) => {
  const path = folder(t, {
    'corpus.jsonl': GOOD['corpus.jsonl'].replaceAll('"id"', '"_id"').replace('2,', '"2","title":"",'),
    'queries.jsonl': GOOD['queries.jsonl'].replaceAll('"id"', '"_id"'),
    'qrels/test.tsv': GOOD['qrels.tsv'],
  });
  assert.deepEqual(await readAll(path), EXPECTED);
});

test('qrels may lack the head, and may be in the four columns of TREC', async (t) => {
  assert.deepEqual(await readAll(folder(t, { ...GOOD, 'qrels.tsv': 'q1\t0\td1\t2\nq1\t0\t2\t0' })), EXPECTED);
});

for (const [file, content, message] of [
  ['corpus.jsonl', '{"id":"a","text":"x"}\n\nnot json', /corpus\.jsonl:3: not a JSON object/],
  ['corpus.jsonl', '[]', /corpus\.jsonl:1: not a JSON object/],
  ['corpus.jsonl', '{"text":"x"}', /corpus\.jsonl:1: "id" \(or "_id"\)/],
  ['corpus.jsonl', '{"id":"a","text":"x"}\n{"id":"b"}', /corpus\.jsonl:2: "text" must be a string/],
  ['corpus.jsonl', '{"id":"a","text":"x","title":1}', /corpus\.jsonl:1: "title" must be a string/],
  [
    'corpus.jsonl',
    '{"id":"1","text":"x"}\n{"id":1,"text":"y"}',
    /corpus\.jsonl:2: id "1" stands in line 1 already/,
  ],
  ['corpus.jsonl', '\n', /corpus\.jsonl is empty/],
  ['queries.jsonl', '{"id":"q1"}', /queries\.jsonl:1: "text" must be a string/],
  ['queries.jsonl', '{"id":"q1","text":" "}', /queries\.jsonl: query "q1" is empty/],
  ['queries.jsonl', '{"id":"q3","text":"x"}', /qrels\.tsv:2: query "q1" is not in queries\.jsonl/],
  ['qrels.tsv', 'q1\td1\t1\nq1 d1 1', /qrels\.tsv:2: expected query, document and relevance/],
  ['qrels.tsv', 'a\tb\tc\nq1\td1\tyes', /qrels\.tsv:2: relevance "yes" is not an integer/],
  ['qrels.tsv', 'q1\td1\t1\nq1\td1\t0', /qrels\.tsv:2: query "q1" and document "d1" are judged twice/],
  ['qrels.tsv', 'query-id\tcorpus-id\tscore\n', /qrels\.tsv has no judgement/],
] as const) {
  test(`malformed: ${message.source}`, async (t) => {
    const path = folder(t, { ...GOOD, [file]: content });
    await assert.rejects(readAll(path), (error) => {
      assert.ok(error instanceof CollectionError, String(error));
      assert.match(error.message, message);
      return true;
    });
  });
}

test('bytes that are not UTF-8, and a missing file, are named', async (t) => {
  const path = folder(t, GOOD);
  writeFileSync(join(path, 'corpus.jsonl'), Buffer.from([0x7b, 0xff, 0x7d]));
  await assert.rejects(readAll(path), /corpus\.jsonl: Line 1 is not valid UTF-8/);
  rmSync(join(path, 'queries.jsonl'));
  await assert.rejects(readAll(path), /queries\.jsonl is missing: a collection has/);
});
