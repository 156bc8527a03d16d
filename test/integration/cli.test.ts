import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, before, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { JobView, SearchAnswer } from '../../apps/cli/src/apiTypes.ts';
import { TrivecClient } from '../../apps/cli/src/client.ts';
import { startStandalone } from '../../apps/standalone/src/server.ts';
import { type Config, loadConfig } from '../../packages/core/src/config.ts';
import { createLogger } from '../../packages/core/src/telemetry/logger.ts';
import { type Ran, runCli } from '../support/runCli.ts';

const MAIN = fileURLToPath(new URL('../../apps/cli/src/main.ts', import.meta.url));
const PASSAGES = fileURLToPath(new URL('../../examples/passages.ndjson', import.meta.url));
/** Nothing listens there. */
const DEAD_PORT = '9';

const base = mkdtempSync(join(tmpdir(), 'trivec-cli-'));
const serverConfig = configOf('server');
let server: { url: string; close(): Promise<void> };

function configOf(dataDir: string): Config {
  return loadConfig({ PORT: DEAD_PORT, DATA_DIR: join(base, dataDir), LOG_LEVEL: 'silent' });
}

before(async () => {
  server = await startStandalone({ ...serverConfig, port: 0 }, createLogger(serverConfig));
});

after(async () => {
  await server.close();
  rmSync(base, { recursive: true, force: true });
});

/** One command line against the test's server, or wherever the arguments lead. */
const trivec = (args: string[], config = serverConfig) => runCli(args, config);
const here = (...args: string[]) => trivec([...args, '--url', server.url]);

function folder(t: TestContext): string {
  const path = mkdtempSync(join(base, 'out-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Embeds a file and gives the job's id. */
async function embedded(
  t: TestContext,
  path: string,
  ...args: string[]
): Promise<{ ran: Ran; job: JobView }> {
  const ran = await here('embed', path, '--json', ...args);
  assert.equal(ran.code, 0, ran.err);
  const job = JSON.parse(ran.out) as JobView;
  t.after(() => here('delete', job.id));
  return { ran, job };
}

const csv = (rows: number) =>
  `key,title,body\n${Array.from({ length: rows }, (_, i) => `k${i},"Title, ${i}","A body\nabout ${i} bridges."`).join('\n')}\n`;

test('a CSV to vectors in a folder: every row once, in order, with its payload searchable', async (t) => {
  const out = folder(t);
  const file = join(out, 'in.csv');
  writeFileSync(file, csv(40));
  const { ran, job } = await embedded(
    t,
    file,
    ...['--id-field', 'key', '--text-field', 'title,body', '--payload-field', 'title'],
    ...['--outputs', 'dense,sparse', '--out', join(out, 'vectors')],
  );
  assert.match(ran.err, /sending 100% .* 40 documents/);
  assert.match(ran.err, /embedding 100% 40\/40 documents/);
  assert.match(ran.err, /completed: 40 documents, [\d,]+ tokens in .* by trivec-mini\./);
  const lines = readFileSync(join(out, 'vectors/results.ndjson'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual(
    lines.map(({ id }) => id),
    Array.from({ length: 40 }, (_, i) => `k${i}`),
  );
  assert.deepEqual(Object.keys(lines[0]!), ['id', 'chunk', 'tokens', 'dense', 'sparse']);
  assert.equal((JSON.parse(readFileSync(join(out, 'vectors/job.json'), 'utf8')) as JobView).id, job.id);
  assert.equal(existsSync(join(out, 'vectors/errors.ndjson')), false);
  assert.ok(ran.out.endsWith('}\n'));

  const found = await here('search', job.id, '7 bridges', '--json', '--limit', '1');
  assert.deepEqual(Object.keys((JSON.parse(found.out) as SearchAnswer).hits[0]!.payload!), ['title']);
});

test('the passages: jobs, job, watch, results as Arrow, search with an explanation, delete', async (t) => {
  const out = folder(t);
  const { job } = await embedded(t, PASSAGES, '--outputs', 'dense,sparse,colbert');
  assert.equal(job.counts.embedded, 270);

  const jobs = await here('jobs');
  assert.match(jobs.out, /^id +status +documents/);
  assert.match(jobs.out, new RegExp(`${job.id} +completed +270 +270 +0 +dense,sparse,colbert`));
  assert.equal((JSON.parse((await here('jobs', '--json')).out) as { jobs: JobView[] }).jobs[0]!.id, job.id);
  assert.match((await here('job', job.id)).out, /documents +270 in all, 270 embedded, 0 failed/);
  assert.equal((await here('watch', job.id)).code, 0);

  const saved = await here('results', job.id, '--format', 'arrow', '--out', out);
  assert.match(saved.out, /results\.arrow {2}[\d.]+ MB/);
  const arrow = readFileSync(join(out, 'results.arrow'));
  assert.equal(arrow.readUInt32LE(0), 0xffffffff, 'an Arrow stream starts with a continuation mark');
  const printed = await here('results', job.id);
  assert.equal(printed.out.trim().split('\n').length, 270);

  const found = await here(
    'search',
    job.id,
    'What is ISO 3103?',
    '--mode',
    'sparse',
    '--limit',
    '2',
    '--explain',
  );
  assert.match(found.out, /^ 1 {2}[\d.]+ {2}drinks-01 {2}The tea taster's standard\n {4}ISO 3103 lays down/);
  assert.match(found.out, /\n {4}sparse: {2}.*310/);
  assert.match(found.err, /270 texts looked at, mode sparse\./);

  assert.equal((await here('delete', job.id)).code, 0);
  const gone = await here('job', job.id);
  assert.equal(gone.code, 1);
  assert.match(gone.err, /^trivec: .* \(job_not_found.*request .*\)\n$/);
});

test('models', async () => {
  const ran = await here('models', 'served');
  assert.match(ran.out, /trivec-mini \(default\) +dense,sparse,colbert/);
  assert.match(ran.err, /\(a stand-in\)/);
});

test('what the server refuses is one line, with the line number of the file', async (t) => {
  const file = join(folder(t), 'in.csv');
  writeFileSync(file, 'id,text\na,"two\nlines"\na,again\n');
  const duplicate = await here('embed', file);
  assert.equal(duplicate.code, 1);
  assert.match(duplicate.err.trim().split('\n').at(-1)!, /^trivec: .*4.*\(duplicate_id, line 4, request /);
  const output = await here('embed', file, '--outputs', 'dense,x');
  assert.match(output.err, /trivec: .*"x".* \(unknown_output, outputs/);
  assert.deepEqual((JSON.parse((await here('jobs', '--json')).out) as { jobs: JobView[] }).jobs, []);
});

test('a large file that is refused early still gets the server’s answer', async (t) => {
  const file = join(folder(t), 'in.ndjson');
  const line = (id: number) => `${JSON.stringify({ id, text: 'word '.repeat(2000) })}\n`;
  writeFileSync(file, line(1) + line(1) + Array.from({ length: 3000 }, (_, i) => line(i + 2)).join(''));
  const ran = await here('embed', file);
  assert.equal(ran.code, 1);
  assert.match(ran.err, /\(duplicate_id, line 2/);
});

test('a file that is no document ends before a job is made; --skip-invalid goes on', async (t) => {
  const file = join(folder(t), 'in.ndjson');
  writeFileSync(file, '{"id":1,"text":"one"}\n{"id":2}\n{"id":3,"text":"three"}\n');
  const refused = await here('embed', file);
  assert.equal(refused.code, 1);
  assert.match(refused.err, /trivec: Line 2: there is no "text".* \(invalid_document, line 2\)/);
  const { ran, job } = await embedded(t, file, '--skip-invalid', '--outputs', 'dense');
  assert.equal(job.counts.documents, 2);
  assert.match(ran.err, /1 record left out\. The first: Line 2/);
});

test('--out keeps the results of another job, unless --force', async (t) => {
  const out = folder(t);
  const file = join(folder(t), 'in.ndjson');
  writeFileSync(file, '{"id":1,"text":"one"}\n');
  const first = await embedded(t, file, '--out', out, '--format', 'arrow');
  const again = await here('embed', file, '--out', out);
  assert.equal(again.code, 1);
  assert.equal(
    again.err,
    `trivec: ${out} has the results of job ${first.job.id}. Give another --out, or --force, which replaces them. (invalid_request, --out)\n`,
  );
  const same = await here('results', first.job.id, '--out', out);
  assert.equal(same.code, 0, same.err);
  assert.deepEqual(readdirSync(out).sort(), ['job.json', 'results.arrow', 'results.ndjson']);
  const { job } = await embedded(t, file, '--out', out, '--force');
  assert.deepEqual(readdirSync(out).sort(), ['job.json', 'results.ndjson'], 'nothing of the first job');
  assert.equal((await here('watch', first.job.id, '--out', out)).code, 1);
  assert.equal((JSON.parse(readFileSync(join(out, 'job.json'), 'utf8')) as JobView).id, job.id);
});

test('a check of options is no error in the log of the server', async (t) => {
  const client = new TrivecClient(server.url);
  const statuses = t.mock.method(globalThis, 'fetch');
  await client.checkRequest({ outputs: ['dense'], 'chunking.maxTokens': 8 });
  await assert.rejects(client.checkRequest({ outputs: ['x'] }), { code: 'unknown_output' });
  const answers = await Promise.all(statuses.mock.calls.map(({ result }) => result));
  assert.deepEqual(
    answers.map((answer) => answer?.status),
    [200, 400],
  );
  assert.deepEqual(await client.jobs(), { jobs: [], nextCursor: null });
});

test('wrong usage is exit code 2 and says what is wrong', async () => {
  for (const [args, message] of [
    [['search', 'x'], /search needs JOB_ID and a question/],
    [['jobs', '--limit', '0'], /integer from 1 to 100/],
    [['jobs', '--url', 'localhost:8080'], /http:\/\/ or https:\/\//],
    [['embed', 'x.csv', '--format', 'xml'], /Allowed choices are ndjson, arrow/],
    [['embd'], /unknown command 'embd'/],
    [['models', 'lst'], /unknown command 'models lst'/],
    [['models', '--url', 'http://x'], /unknown option.*\n.*`trivec models served` asks a server/],
  ] as const) {
    const ran = await trivec([...args]);
    assert.equal(ran.code, 2, args.join(' '));
    assert.match(ran.err, message);
  }
  const help = await trivec(['embed', '--help']);
  assert.equal(help.code, 0);
  for (const option of ['--outputs', '--id-field', '--text-field', '--payload-field', '--url']) {
    assert.ok(help.out.includes(option), option);
  }
});

test('no server at --url; none at the default address while another process holds the data', async () => {
  const away = await trivec(['jobs', '--url', `http://127.0.0.1:${DEAD_PORT}`]);
  assert.equal(away.code, 1);
  assert.match(
    away.err,
    /^trivec: No server answers at http:\/\/127\.0\.0\.1:9 \(.*\)\. \(server_unreachable\)\n$/,
  );
  const held = await trivec(['jobs']);
  assert.equal(held.code, 1);
  assert.match(
    held.err,
    /is in use by process .* it may still be starting \(try again\), or listen elsewhere \(--url\)\. \(server_unreachable\)\n$/,
  );
});

test('without a server: Ctrl-C leaves the job, watch goes on with it, and its results are whole', async (t) => {
  const out = folder(t);
  const file = join(out, 'in.ndjson');
  const text = 'A bridge carries a road over a river. '.repeat(40);
  const documents = 800;
  writeFileSync(
    file,
    Array.from({ length: documents }, (_, id) => `${JSON.stringify({ id, text: `${id} ${text}` })}\n`).join(
      '',
    ),
  );
  const env = { ...process.env, PORT: DEAD_PORT, DATA_DIR: join(base, 'alone') };
  const child = spawn(process.execPath, [MAIN, 'embed', file, '--outputs', 'dense'], {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let err = '';
  for await (const chunk of child.stderr) {
    err += chunk;
    if (/embedding \d+%/.test(err) && !child.killed) child.kill('SIGINT');
  }
  if (child.exitCode === null) await once(child, 'exit');
  assert.equal(child.exitCode, 130, err);
  const id = /Follow it: +npx trivec watch (\S+)/.exec(err)?.[1];
  assert.ok(id, err);

  const watched = await trivec(['watch', id, '--out', join(out, 'vectors'), '--json'], configOf('alone'));
  assert.equal(watched.code, 0, watched.err);
  assert.match(watched.err, /^No server at .*: working in this process/);
  assert.equal((JSON.parse(watched.out) as JobView).counts.embedded, documents);
  const ids = readFileSync(join(out, 'vectors/results.ndjson'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { id: string }).id);
  assert.deepEqual(
    ids,
    Array.from({ length: documents }, (_, i) => String(i)),
  );
});

test('a dry run says what the job would be and what would be refused, and makes none', async (t) => {
  const file = join(folder(t), 'in.ndjson');
  const good = Array.from({ length: 30 }, (_, i) => JSON.stringify({ id: i, text: `Bridge ${i} is long.` }));
  writeFileSync(file, [...good, '{"id": "x"}', '{"id": 3, "text": "again"}'].join('\n'));
  const before = (await here('jobs', '--json')).out;
  const ran = await here('embed', file, '--dry-run', '--outputs', 'dense,colbert');
  assert.equal(ran.code, 1, ran.err);
  assert.match(
    ran.out,
    /^documents +30, 5\d\d B of text\ntokens +about [12]\d\d, from a sample of 30 texts\ntime +/,
  );
  assert.match(ran.out, /\ndense +about 42 kB\ncolbert +about \d+ kB\n/);
  assert.match(ran.out, /refused +2 records: 1 duplicate_id, 1 invalid_document/);
  assert.match(ran.out, /Line 32: id "3" was used before/);
  const skipping = await here('embed', file, '--dry-run', '--skip-invalid', '--json', '--chunk-tokens', '8');
  const report = JSON.parse(skipping.out) as {
    accepted: boolean;
    documents: number;
    refused: { total: number };
  };
  assert.deepEqual([report.accepted, report.documents, report.refused.total], [true, 30, 2]);
  const { ran: sent, job } = await embedded(t, file, '--skip-invalid', '--outputs', 'dense');
  assert.deepEqual([job.counts.embedded, job.skipped], [30, 1]);
  assert.match(
    sent.err,
    /1 record left out\. The first: [\s\S]*1 record left out by the server\.\nLeft out: Line 32: id/,
  );
  await here('delete', job.id);
  assert.equal((await here('jobs', '--json')).out, before);
});

test('a job is paused, resumed and retried', async (t) => {
  const { job } = await embedded(t, PASSAGES, '--outputs', 'dense');
  for (const action of ['pause', 'resume', 'retry']) {
    const { code, err } = await here(action, job.id);
    assert.equal(code, 1);
    assert.match(err, /completed already|no failed documents/);
  }
});
