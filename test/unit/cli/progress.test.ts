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

test('an unknown total has no percentage', () => {
  const { stream: target, text } = stream(false);
  const progress = openProgress({ label: 'sending', show: String, total: undefined, stream: target });
  progress.update(7, '');
  progress.stop();
  assert.equal(text(), 'sending 7\n');
});
