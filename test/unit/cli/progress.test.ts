import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import test from 'node:test';
import { openProgress, showDocuments } from '../../../apps/cli/src/progress.ts';

function stream(tty: boolean): { stream: NodeJS.WriteStream; text: () => string } {
  const chunks: Buffer[] = [];
  const pass = new PassThrough();
  pass.on('data', (chunk: Buffer) => chunks.push(chunk));
  const target = Object.assign(pass, { isTTY: tty, columns: 100, rows: 30 });
  return { stream: target as unknown as NodeJS.WriteStream, text: () => Buffer.concat(chunks).toString() };
}

test('without a terminal: plain lines, none twice, the last state always', () => {
  const { stream: target, text } = stream(false);
  const progress = openProgress({
    label: 'embedding',
    show: showDocuments(2000),
    total: 2000,
    stream: target,
    lineIntervalMs: 60_000,
  });
  progress.update(0, 'queued');
  progress.update(500, '9 tokens/s');
  progress.update(2000, 'completed');
  progress.stop();
  progress.stop();
  assert.equal(
    text(),
    'embedding 0% 0/2,000 documents · queued\nembedding 100% 2,000/2,000 documents · completed\n',
  );
});

test('without a terminal: 100 % is no news because the rate has changed', () => {
  const { stream: target, text } = stream(false);
  const line = { label: 'l', show: String, total: 2, stream: target, lineIntervalMs: 0 };
  const progress = openProgress(line);
  progress.update(1, '9 tokens/s');
  progress.update(1, '8 tokens/s');
  progress.update(2, '7 tokens/s');
  progress.update(2, '6 tokens/s');
  progress.update(2, 'waits for Qdrant: 503');
  progress.stop();
  assert.equal(text(), 'l 50% 1 · 9 tokens/s\nl 100% 2 · 7 tokens/s\nl 100% 2 · waits for Qdrant: 503\n');
  const quick = stream(false);
  const another = openProgress({ ...line, stream: quick.stream, lineIntervalMs: 60_000 });
  for (const [done, note] of [
    [2, '5 tokens/s'],
    [2, 'completed'],
  ] as const)
    another.update(done, note);
  another.stop();
  assert.equal(quick.text(), 'l 100% 2 · completed\n');
});

test('an unknown total has no percentage', () => {
  const { stream: target, text } = stream(false);
  const progress = openProgress({ label: 'sending', show: String, total: undefined, stream: target });
  progress.update(7, '');
  progress.stop();
  assert.equal(text(), 'sending 7\n');
});
