import assert from 'node:assert/strict';
import test from 'node:test';
import { TrivecError } from '@trivec/core/errors';
import { decodeCursor, encodeCursor, sortKey } from '@trivec/core/ledger/jobCursor';
import fc from 'fast-check';

const position = fc.record(
  {
    createdAtMs: fc.integer({ min: 0, max: 8.64e14 }),
    id: fc.stringMatching(/^[A-Za-z0-9_-]{1,40}$/),
  },
  { noNullPrototype: true },
);

test('a cursor leads back to its position', () => {
  fc.assert(fc.property(position, (at) => assert.deepEqual(decodeCursor(encodeCursor(at)), at)));
});

test('keys sort as creation time and id do', () => {
  fc.assert(
    fc.property(position, position, (a, b) => {
      const byKey = Buffer.compare(Buffer.from(sortKey(a)), Buffer.from(sortKey(b)));
      const byPosition =
        Math.sign(a.createdAtMs - b.createdAtMs) || Buffer.compare(Buffer.from(a.id), Buffer.from(b.id));
      assert.equal(byKey, byPosition);
    }),
  );
});

test('anything else is refused', () => {
  for (const cursor of ['', 'x', '%%%', Buffer.from('12.a').toString('base64url'), 'a'.repeat(10_000)]) {
    assert.throws(
      () => decodeCursor(cursor),
      (error: unknown) => error instanceof TrivecError && error.code === 'invalid_cursor',
    );
  }
});
