import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { ApiError } from '../../../apps/cli/src/apiError.ts';
import type { JobView, ResultFormat } from '../../../apps/cli/src/apiTypes.ts';
import { resumeHint } from '../../../apps/cli/src/commands/embed.ts';
import { checkText } from '../../../apps/cli/src/commands/modelText.ts';
import { reportEnd, summary } from '../../../apps/cli/src/commands/report.ts';
import type { Connection } from '../../../apps/cli/src/connect.ts';
import type { CommandContext } from '../../../apps/cli/src/context.ts';
import { formatBytes, formatDuration, formatTable, shorten } from '../../../apps/cli/src/format.ts';
import { errorLine } from '../../../apps/cli/src/run.ts';
import { describe } from '../../../apps/cli/src/watch.ts';
import { loadConfig } from '../../../packages/core/src/config.ts';
import { defaultUrl } from '../../../packages/core/src/defaultUrl.ts';
import { TrivecError } from '../../../packages/core/src/errors.ts';
import { describeModelFolder } from '../../../packages/core/src/models/folder.ts';
import { locateModel } from '../../../packages/core/src/models/locate.ts';

const JOB: JobView = {
  id: 'j1',
  status: 'running',
  pausedReason: null,
  webhook: null,
  counts: { documents: 2000, embedded: 1000, written: 0, failed: 1 },
  tokens: 54_321,
  tokensPerSecond: 1234.5,
  etaSeconds: 65,
  waitingFor: null,
  createdAt: '2024-01-01T00:00:00.000Z',
  startedAt: '2024-01-01T00:00:01.000Z',
  finishedAt: null,
  model: { name: 'mini', fingerprint: 'f' },
  outputs: ['dense'],
  options: { normalize: true, truncate: true },
  skipped: 0,
  truncated: 0,
  warnings: [],
  errors: [],
  sink: null,
  links: { self: '/jobs/j1', results: '/jobs/j1/results', errors: '/jobs/j1/errors' },
};

test('durations and bytes', () => {
  assert.deepEqual([0.25, 12.4, 59.6, 185, 7800].map(formatDuration), [
    '250 ms',
    '12 s',
    '1 min 0 s',
    '3 min 5 s',
    '2 h 10 min',
  ]);
  assert.deepEqual([12, 3400, 25_000_000, 2.5e12].map(formatBytes), ['12 B', '3.4 kB', '25 MB', '2.5 TB']);
});

test('shorten gives one line of at most the width, and never half a character', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 40 }), (text, width) => {
      const short = shorten(text, width);
      assert.ok(Array.from(short).length <= width);
      assert.ok(!short.includes('\n'));
      assert.ok(short.isWellFormed());
    }),
  );
  assert.equal(shorten('one  two\nthree', 100), 'one two three');
});

test('a table aligns its columns', () => {
  assert.equal(
    formatTable(
      ['id', 'count'],
      [
        ['a', '1'],
        ['long', '20'],
      ],
      [1],
    ),
    'id    count\na         1\nlong     20',
  );
});

test('a job in words', () => {
  assert.equal(describe(JOB), '1,235 tokens/s · 1 failed · 1 min 5 s left');
  assert.equal(
    describe({ ...JOB, status: 'queued', tokensPerSecond: null, etaSeconds: null }),
    '1 failed · queued',
  );
  assert.equal(
    describe({ ...JOB, tokensPerSecond: null, etaSeconds: null, waitingFor: 'worker' }),
    '1 failed · waits for a worker',
  );
  assert.equal(
    summary({ ...JOB, status: 'completed', finishedAt: '2024-01-01T00:00:05.000Z' }),
    'Job j1 completed: 1,000 documents, 1 failed, 54,321 tokens in 4 s by mini.',
  );
});

test('the default address is where the server listens, seen from here', () => {
  const url = (host: string) => defaultUrl({ host, port: 81 });
  assert.equal(url('127.0.0.1'), 'http://127.0.0.1:81');
  assert.equal(url('0.0.0.0'), 'http://127.0.0.1:81');
  assert.equal(url('::'), 'http://[::1]:81');
  assert.equal(url('::1'), 'http://[::1]:81');
});

test('errors are one line with code, param and request', () => {
  const api = new ApiError('unknown_output', 400, 'No "x".', { param: 'outputs', requestId: 'r1' });
  assert.equal(errorLine(api, false), 'trivec: No "x". (unknown_output, outputs, request r1)');
  assert.equal(
    errorLine(new TrivecError('invalid_line', 'Line 3 is not JSON.'), false),
    'trivec: Line 3 is not JSON. (invalid_line)',
  );
  assert.equal(errorLine(new Error('boom'), false), 'trivec: boom');
  assert.equal(errorLine(new Error('This operation was aborted'), true), 'Interrupted.');
  assert.equal(errorLine(new ApiError('interrupted', 0, 'Job x goes on.'), true), 'Job x goes on.');
});

test('whoever interrupts a job is told that it goes on, and how to follow or end it', () => {
  const config = loadConfig({ PORT: '81', DATA_DIR: 'd' });
  const hint = (url: string, inProcess = false) =>
    resumeHint({ client: { url }, inProcess }, 'j1', config, { format: 'ndjson' }).split('\n');
  assert.deepEqual(hint('http://127.0.0.1:81'), [
    'Interrupted. Job j1 goes on at http://127.0.0.1:81.',
    '  Follow it:  npx trivec watch j1',
    '  Results:    npx trivec results j1 --out DIR',
    '  End it:     npx trivec cancel j1',
  ]);
  assert.equal(hint('http://h:9')[3], '  End it:     npx trivec cancel j1 --url http://h:9');
  const asked = { format: 'parquet', out: 'v' } as const;
  assert.match(
    resumeHint({ client: { url: 'http://127.0.0.1:81' }, inProcess: false }, 'j1', config, asked),
    /results j1 --format parquet --out v$/m,
  );
  assert.match(hint('http://127.0.0.1:4711', true).join(), /kept in d and goes on while .*cancel j1$/);
});

test('what may be done with a job that has ended is shown with the server that it is on', async () => {
  const config = loadConfig({ PORT: '81' });
  const shown = async (url: string, format: ResultFormat = 'ndjson') => {
    let text = '';
    const err = { write: (part: string) => (text += part) };
    const context = { config, err } as unknown as CommandContext;
    const connection = { client: { url }, inProcess: false } as unknown as Connection;
    await reportEnd(context, connection, { ...JOB, status: 'completed' }, { format });
    return text;
  };
  const elsewhere = await shown('http://h:9');
  assert.match(elsewhere, /^Results: npx trivec results j1 --out DIR --url http:\/\/h:9$/m);
  assert.match(elsewhere, /^Search it: npx trivec search j1 "your question" --url http:\/\/h:9$/m);
  assert.doesNotMatch(await shown('http://127.0.0.1:81'), /--url/);
  assert.match(await shown('http://127.0.0.1:81', 'parquet'), /results j1 --format parquet --out DIR$/m);
});

test('a model is described in words, and a mistyped name gets the nearest', async () => {
  const located = await locateModel('trivec-mini', loadConfig({}));
  const model = await describeModelFolder(located.folder!, located);
  const test = { outcome: 'passed', detail: '3 values', maxDifference: 0.000123 } as const;
  const text = checkText({ model, info: model.info, device: 'cpu', test });
  assert.match(text, /^model: +trivec-mini \(a stand-in\)$/m);
  assert.match(text, /^gives: +dense \(352\), sparse, colbert \(128\)$/m);
  assert.match(text, /^self-test: passed: 3 values, greatest difference 0\.00012$/m);
  assert.doesNotMatch(text, /[{}[\]]|undefined|null/);
  for (const [name, message] of [
    ['trivec-mni', /^There is no model trivec-mni\. Did you mean trivec-mini\? `npx trivec models` lists/],
    ['BGE-M4', /Did you mean BAAI\/bge-m3\?/],
    ['nothing-like-it', /^There is no model nothing-like-it\. `npx trivec models` lists/],
  ] as const)
    await assert.rejects(locateModel(name, loadConfig({})), { code: 'invalid_model', message });
});
