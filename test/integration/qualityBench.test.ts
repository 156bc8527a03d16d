import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { QualityReport } from '../../bench/quality/bench.ts';

const MAIN = fileURLToPath(new URL('../../bench/quality/main.ts', import.meta.url));

interface Ran {
  code: number;
  out: string;
  err: string;
}

function bench(...args: string[]): Promise<Ran> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [MAIN, ...args], { env: {} }, (_, out, err) => {
      resolve({ code: child.exitCode ?? -1, out, err });
    });
  });
}

/** The passages of the demo: each title asks for its text. In BEIR's layout, with an empty document at the end. */
function collection(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'trivec-quality-test-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const passages = readFileSync(new URL('../../examples/passages.ndjson', import.meta.url), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { id: string; text: string; payload: { title: string } });
  const jsonl = (rows: unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  const asked = passages.slice(0, 20);
  mkdirSync(join(folder, 'qrels'));
  writeFileSync(
    join(folder, 'corpus.jsonl'),
    jsonl([...passages.map(({ id, text }) => ({ _id: id, title: '', text })), { _id: 'none', text: '' }]),
  );
  writeFileSync(
    join(folder, 'queries.jsonl'),
    jsonl(asked.map(({ id, payload }) => ({ _id: `ask-${id}`, text: payload.title }))),
  );
  writeFileSync(
    join(folder, 'qrels', 'test.tsv'),
    `query-id\tcorpus-id\tscore\n${asked.map(({ id }) => `ask-${id}\t${id}\t1\n`).join('')}`,
  );
  return folder;
}

test('a collection is measured through a server of its own, and saved', async (t) => {
  const folder = collection(t);
  const out = join(folder, 'out', 'report.json');
  const ran = await bench('--data', folder, '--out', out);
  assert.equal(ran.code, 0, ran.err);
  assert.match(ran.out, /^ +nDCG@10 +less BM25 \(95 %\) +recall@100/);
  const report = JSON.parse(readFileSync(out, 'utf8')) as QualityReport & { machine: { cores: number } };
  assert.deepEqual(
    report.rows.map(({ run }) => run),
    ['BM25', 'dense', 'sparse', 'colbert', 'mixed', 'rrf dense+sparse', 'rrf all'],
  );
  const { documents, emptyDocuments, queries, judgements } = report.collection;
  assert.deepEqual([documents, emptyDocuments, queries, judgements], [271, 1, 20, 20]);
  assert.equal(report.model.name, 'trivec-mini');
  assert.ok(report.model.fingerprint.length > 0 && report.machine.cores > 0);
  assert.deepEqual([report.corpus.failed, report.corpus.truncated], [0, 0]);
  for (const row of report.rows) {
    assert.ok(row.recall100 >= 0.6 && row.recall100 <= 1, `${row.run}: recall ${row.recall100}`);
    assert.ok(row.ndcg10 >= 0.3 && row.ndcg10 <= 1, `${row.run}: nDCG ${row.ndcg10}`);
    const interval = row.against?.ndcg10;
    if (row.run === 'BM25') assert.equal(interval, undefined);
    else assert.ok(interval!.low <= interval!.mean && interval!.mean <= interval!.high);
  }
});

test('a malformed collection ends the bench before a server is asked for anything', async (t) => {
  const folder = collection(t);
  writeFileSync(join(folder, 'queries.jsonl'), '{"_id":"a","text":"fine"}\n{"_id":"b"}\n');
  const ran = await bench('--data', folder, '--url', 'http://127.0.0.1:9');
  assert.equal(ran.code, 1);
  assert.match(ran.err, /^bench:quality: .*queries\.jsonl:2: "text" must be a string\.\n$/);
});
