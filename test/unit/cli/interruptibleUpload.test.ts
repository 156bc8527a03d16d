import assert from 'node:assert/strict';
import test from 'node:test';
import { interruptibleUpload } from '../../../apps/cli/src/interruptibleUpload.ts';

async function* pieces(atEnd: () => void = () => undefined): AsyncGenerator<string> {
  yield 'a';
  yield 'b';
  atEnd();
}

async function read(lines: AsyncIterable<string>): Promise<string> {
  let text = '';
  for await (const piece of lines) text += piece;
  return text;
}

test('what nobody interrupts is sent whole', async () => {
  for (const piped of [false, true]) {
    const { signal } = new AbortController();
    const upload = interruptibleUpload(pieces(), { signal, piped, answerWaitMs: 0 });
    assert.equal(await read(upload.lines), 'ab');
    assert.deepEqual([upload.sentWhole, upload.signal.aborted], [true, false]);
    upload.release();
  }
});

test('a pipe that ends of the signal that is seen a moment later was not sent whole', async () => {
  const controller = new AbortController();
  const source = pieces(() => setImmediate(() => controller.abort()));
  const upload = interruptibleUpload(source, {
    signal: controller.signal,
    piped: true,
    answerWaitMs: 60_000,
  });
  await assert.rejects(read(upload.lines), { name: 'AbortError' });
  assert.deepEqual([upload.sentWhole, upload.signal.aborted], [false, true]);
  upload.release();
});

test('a signal cuts at once what is not whole, and what is after the time for an answer', async () => {
  const early = new AbortController();
  early.abort();
  const cut = interruptibleUpload(pieces(), { signal: early.signal, piped: false, answerWaitMs: 60_000 });
  assert.equal(cut.signal.aborted, true);
  await assert.rejects(read(cut.lines), { name: 'AbortError' });
  assert.equal(cut.sentWhole, false);
  cut.release();

  const late = new AbortController();
  const whole = interruptibleUpload(pieces(), { signal: late.signal, piped: false, answerWaitMs: 1 });
  await read(whole.lines);
  const aborted = new Promise((resolve) => whole.signal.addEventListener('abort', resolve));
  late.abort();
  assert.equal(whole.signal.aborted, false);
  await aborted;
  whole.release();
});
