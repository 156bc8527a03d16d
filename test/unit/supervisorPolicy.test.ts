import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { afterExit, type ChildExit, DEFAULT_POLICY } from '../../apps/standalone/src/supervisorPolicy.ts';

const crash = (over: Partial<ChildExit> = {}): ChildExit => ({
  code: 1,
  signal: null,
  ranMs: 1000,
  stopRequested: false,
  ...over,
});

test('a clean stop, a bad option and a requested stop are never followed by a start', () => {
  assert.deepEqual(afterExit(0, crash({ code: 0 })), { action: 'end', exitCode: 0, reason: 'stopped' });
  assert.deepEqual(afterExit(0, crash({ code: 2 })), {
    action: 'end',
    exitCode: 2,
    reason: 'invalid_config',
  });
  assert.deepEqual(afterExit(0, crash({ code: null, signal: 'SIGKILL', stopRequested: true })), {
    action: 'end',
    exitCode: 1,
    reason: 'stopped',
  });
});

test('what ends a first start is tried again after a crash: the same options have run', () => {
  assert.deepEqual(afterExit(1, crash({ code: 2 })), { action: 'restart', delayMs: 1000, crashes: 2 });
});

test('a stop while the process was still loading is a clean one', () => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    assert.deepEqual(afterExit(0, crash({ code: null, signal, stopRequested: true })), {
      action: 'end',
      exitCode: 0,
      reason: 'stopped',
    });
  }
});

test('a kill and an exception are crashes', () => {
  for (const exit of [crash(), crash({ code: null, signal: 'SIGKILL' }), crash({ code: 134 })]) {
    assert.deepEqual(afterExit(0, exit), { action: 'restart', delayMs: 500, crashes: 1 });
  }
});

test('it gives up after maxCrashes in a row and says with which code', () => {
  const last = afterExit(DEFAULT_POLICY.maxCrashes - 1, crash({ code: 7 }));
  assert.deepEqual(last, { action: 'end', exitCode: 7, reason: 'crash_loop' });
});

test('any run of crashes: delays double up to the bound, and only a healthy run forgives', () => {
  const policies = fc.record({
    firstDelayMs: fc.integer({ min: 1, max: 1000 }),
    maxDelayMs: fc.integer({ min: 1000, max: 60_000 }),
    maxCrashes: fc.integer({ min: 1, max: 12 }),
    healthyMs: fc.integer({ min: 1, max: 100_000 }),
  });
  const runs = fc.array(fc.integer({ min: 0, max: 200_000 }), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(policies, runs, (policy, runsMs) => {
      let crashes = 0;
      let expected = 0;
      for (const ranMs of runsMs) {
        expected = ranMs >= policy.healthyMs ? 1 : expected + 1;
        const decision = afterExit(crashes, crash({ ranMs }), policy);
        if (expected >= policy.maxCrashes) {
          assert.equal(decision.action, 'end');
          return;
        }
        assert.deepEqual(decision, {
          action: 'restart',
          crashes: expected,
          delayMs: Math.min(policy.maxDelayMs, policy.firstDelayMs * 2 ** (expected - 1)),
        });
        crashes = expected;
      }
    }),
  );
});
