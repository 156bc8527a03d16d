import assert from 'node:assert/strict';
import test from 'node:test';
import { redisError } from '@trivec/core/backend/redisClient';

test('what a client is told of a lost Redis names no address', () => {
  const refused = Object.assign(new Error('connect ECONNREFUSED 10.1.2.3:6379'), { code: 'ECONNREFUSED' });
  const error = redisError(refused);
  assert.deepEqual(
    [error.code, error.message],
    ['backend_unavailable', 'Redis does not answer: ECONNREFUSED'],
  );
  assert.equal(error.cause, refused);
  assert.match(redisError(new Error('Connection is closed.')).message, /: Connection is closed\.$/);
  const both = Object.assign(new AggregateError([refused, refused]), { code: 'ECONNREFUSED' });
  assert.equal(redisError(both).code, 'backend_unavailable');
  assert.equal(redisError(new Error('WRONGTYPE of a key')).code, 'internal');
});
