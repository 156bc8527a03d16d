import assert from 'node:assert/strict';
import test from 'node:test';
import { AdaptiveLimit } from '../../../packages/core/src/sinks/qdrant/adaptiveLimit.ts';
import { failureOfAnswer, failureOfClient } from '../../../packages/core/src/sinks/qdrant/failure.ts';

const ASKED = { address: 'http://qdrant:6333', timeoutMs: 5 };

test('what may heal is retryable, what cannot is not', () => {
  for (const status of [408, 429, 500, 502, 503, 504, 507]) {
    const failure = failureOfAnswer(status, undefined, undefined);
    assert.equal(failure.code, 'sink_unavailable', String(status));
    assert.ok(failure.retryable);
  }
  for (const status of [302, 400, 401, 403, 404, 409, 413, 422]) {
    const failure = failureOfAnswer(status, { status: { error: 'Wrong input: x' } }, undefined);
    assert.equal(failure.code, 'sink_rejected', String(status));
    assert.match(failure.message, /Wrong input: x/);
  }
  assert.ok(failureOfAnswer(429, undefined, undefined).overloaded);
  assert.ok(!failureOfAnswer(500, undefined, undefined).overloaded);
});

test('Retry-After is read whole, in seconds or as a date', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  const seconds = (header: string) => failureOfAnswer(429, undefined, header, now).retryAfterSeconds;
  assert.equal(seconds('37'), 37);
  assert.equal(seconds('Thu, 01 Jan 2026 00:00:05 GMT'), 5);
  assert.equal(seconds('Wed, 31 Dec 2025 00:00:05 GMT'), 0);
  assert.equal(seconds('soon'), undefined);
});

test("the official client's errors", () => {
  const named = (name: string, fields: object = {}) => Object.assign(new Error('m'), { name }, fields);
  const late = failureOfClient(named('QdrantClientTimeoutError'), ASKED);
  assert.ok(late.retryable);
  assert.equal(late.message, 'Qdrant at http://qdrant:6333 did not answer within 5 ms.');
  const exhausted = failureOfClient(named('QdrantClientResourceExhaustedError', { retry_after: 3 }), ASKED);
  assert.deepEqual([exhausted.httpStatus, exhausted.retryAfterSeconds], [429, 3]);
  const rejected = failureOfClient(
    named('ApiError', { status: 404, data: { status: { error: 'gone' } } }),
    ASKED,
  );
  assert.deepEqual([rejected.httpStatus, rejected.retryable], [404, false]);
  const reset = failureOfClient(
    new TypeError('fetch failed', { cause: named('E', { code: 'ECONNRESET' }) }),
    ASKED,
  );
  assert.match(reset.message, /ECONNRESET/);
  assert.ok(reset.retryable);
});

test('an unreachable server: the address and the reason, of several addresses and below `fetch failed`', () => {
  const reasonOf = (cause: Error) =>
    failureOfClient(new TypeError('fetch failed', { cause }), ASKED).message.replace(
      'Qdrant at http://qdrant:6333 cannot be reached: ',
      '',
    );
  const coded = (code: string) => Object.assign(new Error('m'), { code });
  assert.equal(reasonOf(coded('ECONNREFUSED')), 'nothing listens there (ECONNREFUSED).');
  const both = new AggregateError([coded('ENETUNREACH'), coded('ECONNREFUSED')]);
  assert.equal(reasonOf(both), 'there is no way to that network (ENETUNREACH).');
  assert.equal(reasonOf(coded('HPE_INVALID_CONSTANT')).includes('does not speak HTTP/1.1'), true);
  assert.equal(reasonOf(coded('EPROTO')), 'EPROTO.');
  assert.equal(reasonOf(new Error('bad port')), 'bad port.');
});

test('the window is halved by trouble, never below one, and grows back', async () => {
  const limit = new AdaptiveLimit(8);
  let running = 0;
  let most = 0;
  const task = async () => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setImmediate(resolve));
    running--;
  };
  await Promise.all(Array.from({ length: 20 }, () => limit.run(task)));
  assert.equal(most, 8);
  for (let i = 0; i < 5; i++) limit.slowDown();
  assert.equal(limit.current, 1);
  most = 0;
  await Promise.all(Array.from({ length: 5 }, () => limit.run(task)));
  assert.equal(most, 1);
  for (let i = 0; i < 100; i++) limit.speedUp();
  assert.equal(limit.current, 8);
  const gone = new AbortController();
  gone.abort(new Error('gone'));
  await assert.rejects(limit.run(task, gone.signal), /gone/);
});
