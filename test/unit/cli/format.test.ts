import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { ApiError } from '../../../apps/cli/src/apiError.ts';
import type { JobView } from '../../../apps/cli/src/apiTypes.ts';
import { summary } from '../../../apps/cli/src/commands/report.ts';
import { defaultUrl } from '../../../apps/cli/src/connect.ts';
import { formatBytes, formatDuration, formatTable, shorten } from '../../../apps/cli/src/format.ts';
import { errorLine } from '../../../apps/cli/src/run.ts';
import { describe } from '../../../apps/cli/src/watch.ts';
import { TrivecError } from '../../../packages/core/src/errors.ts';

const JOB: JobView = {
  id: 'j1',
  status: 'running',
  pausedReason: null,
  webhook: null,
  counts: { documents: 2000, embedded: 1000, written: 0, failed: 1 },
  tokens: 54_321,
  tokensPerSecond: 1234.5,
  etaSeconds: 65,
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
