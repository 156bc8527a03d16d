import assert from 'node:assert/strict';
import test from 'node:test';
import { createLogger } from '@trivec/core/telemetry/logger';

function lines(write: (logger: ReturnType<typeof createLogger>) => void, logLevel = 'info'): string {
  const written: string[] = [];
  write(createLogger({ logLevel }, { write: (line: string) => void written.push(line) }));
  return written.join('');
}

test('texts and keys do not reach the log', () => {
  const written = lines((logger) => {
    logger.info({ text: 'SECRET', body: { input: ['SECRET'], documents: [{ text: 'SECRET' }] } }, 'a');
    logger.info({ req: { headers: { authorization: 'SECRET' } }, job: { payload: 'SECRET' } }, 'b');
  });
  assert.equal(written.trim().split('\n').length, 2);
  assert.doesNotMatch(written, /SECRET/);
  assert.match(written, /\[redacted\]/);
});

test('it writes from the configured level on', () => {
  const written = lines((logger) => {
    logger.info('quiet');
    logger.warn('loud');
  }, 'warn');
  assert.match(written, /loud/);
  assert.doesNotMatch(written, /quiet/);
});
