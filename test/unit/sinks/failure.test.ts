import assert from 'node:assert/strict';
import test from 'node:test';
import { AdaptiveLimit } from '../../../packages/core/src/sinks/qdrant/adaptiveLimit.ts';
import { failureOfAnswer, failureOfClient } from '../../../packages/core/src/sinks/qdrant/failure.ts';

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
  assert.equal(failureOfClient(named('QdrantClientTimeoutError'), 5).retryable, true);
  const exhausted = failureOfClient(named('QdrantClientResourceExhaustedError', { retry_after: 3 }), 5);
  assert.deepEqual([exhausted.httpStatus, exhausted.retryAfterSeconds], [429, 3]);
  const rejected = failureOfClient(
    named('ApiError', { status: 404, data: { status: { error: 'gone' } } }),
    5,
  );
  assert.deepEqual([rejected.httpStatus, rejected.retryable], [404, false]);
  const reset = failureOfClient(
    new TypeError('fetch failed', { cause: named('E', { code: 'ECONNRESET' }) }),
    5,
  );
  assert.match(reset.message, /ECONNRESET/);
  assert.ok(reset.retryable);
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
