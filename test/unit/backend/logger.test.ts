import assert from 'node:assert/strict';
import test from 'node:test';
import { TrivecError } from '@trivec/core/errors';
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

test('of an error its name, message, stack and code are logged, and nothing that hangs on it', () => {
  const refused = Object.assign(new Error('NOPERM no rights for evalsha'), {
    code: 'NOPERM',
    command: { name: 'evalsha', args: ['SECRET'] },
  });
  const wrapped = new TrivecError('internal', 'Redis: it refused', { cause: refused });
  const written = lines((logger) => {
    logger.error({ err: refused }, 'a');
    logger.error({ err: wrapped }, 'b');
    logger.error({ err: new AggregateError([refused], 'some') }, 'c');
    logger.error({ err: 'thrown as a text' }, 'd');
  });
  assert.doesNotMatch(written, /SECRET/);
  const [own, outer, several, odd] = written
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).err);
  assert.deepEqual([own.type, own.message, own.code], ['Error', 'NOPERM no rights for evalsha', 'NOPERM']);
  assert.match(own.stack, /logger\.test/);
  assert.equal(outer.code, 'internal');
  assert.match(outer.stack, /caused by: Error: NOPERM/);
  assert.equal(several.errors[0].code, 'NOPERM');
  assert.equal(odd.message, 'thrown as a text');
});
