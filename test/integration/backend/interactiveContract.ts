import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import test from 'node:test';
import { TrivecError } from '@trivec/core/errors';
import type { TestBackends } from '../../support/backends.ts';
import { aborted, Gate, until } from '../../support/gate.ts';

const inFuture = (ms = 20_000) => Date.now() + ms;
const withCode = (code: string) => (error: unknown) => error instanceof TrivecError && error.code === code;

/** What every InteractiveLane does; each test has a fingerprint of its own. */
export function interactiveContract(backends: TestBackends): void {
  const lane = async () => (await backends.backend()).interactive;

  test('typed arrays come back as they were sent', async () => {
    const interactive = await lane();
    const fingerprint = randomUUID();
    const reply = {
      dense: new Float32Array([0.1, -0, 3e38, Number.NaN]),
      sparse: { indices: new Uint32Array([0, 4_294_967_295]), values: new Float32Array([1, 2]) },
      ids: new Int32Array([-1, 2]),
      empty: new Float32Array(0),
      text: 'ü€𝄞',
      nothing: null,
    };
    const server = await interactive.serve(fingerprint, async (task) => ({ ...reply, task }), {
      concurrency: 2,
    });
    const task = { texts: ['a', 'b'], matrix: new Float32Array([1.5]), options: { lane: 'interactive' } };
    const answer = await interactive.request(fingerprint, task, { deadlineAtMs: inFuture() });
    assert.deepEqual(answer, { ...reply, task });
    await server.close();
  });

  test('a reply of two megabytes arrives whole, among small ones', async () => {
    const interactive = await lane();
    const fingerprint = randomUUID();
    const server = await interactive.serve<number, Float32Array>(
      fingerprint,
      async (size) => new Float32Array(size).fill(size),
      { concurrency: 8 },
    );
    const sizes = [500_000, 1, 2, 500_000, 3];
    const replies = await Promise.all(
      sizes.map((size) =>
        interactive.request<number, Float32Array>(fingerprint, size, { deadlineAtMs: inFuture() }),
      ),
    );
    for (const [index, size] of sizes.entries()) {
      assert.equal(replies[index]!.length, size);
      assert.equal(replies[index]!.at(-1), size);
    }
    await server.close();
  });

  test('without a worker it is refused at once', async () => {
    const interactive = await lane();
    const options = { deadlineAtMs: inFuture(600_000) };
    await assert.rejects(interactive.request(randomUUID(), {}, options), withCode('model_unavailable'));
  });

  test('a worker that closed serves no more', async () => {
    const interactive = await lane();
    const fingerprint = randomUUID();
    const server = await interactive.serve(fingerprint, async () => 'here', { concurrency: 1 });
    assert.equal(await interactive.request(fingerprint, {}, { deadlineAtMs: inFuture() }), 'here');
    await server.close();
    await until(async () => {
      const answer = interactive.request(fingerprint, {}, { deadlineAtMs: inFuture(3_000) });
      return await answer.then(() => false, withCode('model_unavailable'));
    }, 'requests are refused');
  });

  test('an error keeps its code, message, parameter and delay', async () => {
    const interactive = await lane();
    const fingerprint = randomUUID();
    const server = await interactive.serve<string, never>(
      fingerprint,
      async (which) => {
        if (which === 'ours') {
          throw new TrivecError('text_too_long', 'Text 3 is long.', {
            param: 'input[3]',
            retryAfterSeconds: 4,
          });
        }
        throw new RangeError('not ours');
      },
      { concurrency: 1 },
    );
    const options = { deadlineAtMs: inFuture() };
    await assert.rejects(interactive.request(fingerprint, 'ours', options), (error: TrivecError) => {
      const { code, message, param, retryAfterSeconds } = error;
      assert.deepEqual(
        { code, message, param, retryAfterSeconds },
        { code: 'text_too_long', message: 'Text 3 is long.', param: 'input[3]', retryAfterSeconds: 4 },
      );
      return error instanceof TrivecError;
    });
    await assert.rejects(interactive.request(fingerprint, 'else', options), withCode('internal'));
    await server.close();
  });

  test('past its deadline a request ends, and its handler is told', async () => {
    const interactive = await lane();
    const fingerprint = randomUUID();
    const reasons: unknown[] = [];
    const server = await interactive.serve(
      fingerprint,
      async (_task, { signal }) => {
        reasons.push(await aborted(signal));
        throw signal.reason;
      },
      { concurrency: 1 },
    );
    const options = { deadlineAtMs: inFuture(300) };
    await assert.rejects(interactive.request(fingerprint, {}, options), withCode('deadline_exceeded'));
    await until(() => reasons.length === 1, 'the handler is told');
    const past = { deadlineAtMs: Date.now() - 1 };
    await assert.rejects(interactive.request(fingerprint, {}, past), withCode('deadline_exceeded'));
    assert.equal(reasons.length, 1);
    await server.close();
  });

  test('a client that leaves takes its work along, whether it waits or runs', async () => {
    const interactive = await lane();
    const fingerprint = randomUUID();
    const started: string[] = [];
    const gate = new Gate();
    let cancelledRunning: unknown;
    const server = await interactive.serve<string, string>(
      fingerprint,
      async (name, { signal }) => {
        started.push(name);
        if (name === 'runs') cancelledRunning = await aborted(signal);
        if (name === 'blocks') await gate.opened;
        return name;
      },
      { concurrency: 1 },
    );
    const leaving = new AbortController();
    const running = interactive.request(fingerprint, 'runs', {
      deadlineAtMs: inFuture(),
      signal: leaving.signal,
    });
    await until(() => started.length === 1, 'the first runs');
    leaving.abort();
    await assert.rejects(running, withCode('cancelled'));
    await until(() => cancelledRunning !== undefined, 'its handler is told');

    const blocking = interactive.request(fingerprint, 'blocks', { deadlineAtMs: inFuture() });
    await until(() => started.length === 2, 'the second runs');
    const leavingToo = new AbortController();
    const waiting = interactive.request(fingerprint, 'waits', {
      deadlineAtMs: inFuture(),
      signal: leavingToo.signal,
    });
    await until(async () => (await interactive.depth(fingerprint)) === 2, 'one runs, one waits');
    leavingToo.abort();
    await assert.rejects(waiting, withCode('cancelled'));
    gate.open();
    assert.equal(await blocking, 'blocks');
    assert.equal(await interactive.request(fingerprint, 'last', { deadlineAtMs: inFuture() }), 'last');
    assert.deepEqual(started, ['runs', 'blocks', 'last']);
    const gone = { deadlineAtMs: inFuture(), signal: AbortSignal.abort() };
    await assert.rejects(interactive.request(fingerprint, 'never', gone), withCode('cancelled'));
    await until(async () => (await interactive.depth(fingerprint)) === 0, 'nothing is left');
    await server.close();
  });

  test('no more handlers run at once than allowed, and they learn how long they waited', async () => {
    const interactive = await lane();
    const fingerprint = randomUUID();
    let running = 0;
    let most = 0;
    const gate = new Gate();
    const waits: number[] = [];
    const deadlineAtMs = inFuture();
    const server = await interactive.serve<number, number>(
      fingerprint,
      async (value, context) => {
        most = Math.max(most, ++running);
        waits.push(context.queuedMs);
        assert.ok(Math.abs(context.deadlineAtMs - deadlineAtMs) < 5_000);
        await gate.opened;
        running--;
        return value * 2;
      },
      { concurrency: 3 },
    );
    const asked = Array.from({ length: 12 }, (_, index) => index);
    const replies = Promise.all(
      asked.map((value) => interactive.request<number, number>(fingerprint, value, { deadlineAtMs })),
    );
    await until(() => running === 3, 'three run');
    await new Promise((resolve) => setTimeout(resolve, 50));
    gate.open();
    assert.deepEqual(
      await replies,
      asked.map((value) => value * 2),
    );
    assert.equal(most, 3);
    assert.ok(Math.min(...waits) >= 0);
    assert.ok(Math.max(...waits) >= 40, 'the last ones waited for the first');
    await server.close();
  });

  test('a worker that closes lets its running work answer', async () => {
    const interactive = await lane();
    const fingerprint = randomUUID();
    const started = new Gate();
    const server = await interactive.serve(
      fingerprint,
      async (_task, { signal }) => {
        started.open();
        return ((await aborted(signal)) as TrivecError).code;
      },
      { concurrency: 1 },
    );
    const answer = interactive.request(fingerprint, {}, { deadlineAtMs: inFuture() });
    await started.opened;
    await server.close();
    assert.equal(await answer, 'shutting_down');
  });
}
