import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { partPointIdOf, pointIdOf } from '../../../packages/core/src/sinks/qdrant/pointId.ts';

test('unsigned integers and UUIDs are kept', () => {
  assert.equal(pointIdOf('0'), 0);
  assert.equal(pointIdOf('42'), 42);
  assert.equal(pointIdOf('9007199254740991'), Number.MAX_SAFE_INTEGER);
  assert.equal(pointIdOf('550e8400-e29b-41d4-a716-446655440000'), '550e8400-e29b-41d4-a716-446655440000');
  assert.equal(pointIdOf('550E8400-E29B-41D4-A716-446655440000'), '550e8400-e29b-41d4-a716-446655440000');
});

test('any other id becomes the UUIDv5 that other languages compute', () => {
  // python: uuid.uuid5(uuid.UUID('1df80578-d506-5a61-8fe0-9a9ff0c29e64'), id)
  assert.equal(pointIdOf('doc-7'), '1c21d160-dd0a-5429-8be3-0cf9df015008');
  assert.equal(pointIdOf('-1'), '8dff762c-ad0b-5d61-9338-c3e0d3a8017b');
  assert.equal(pointIdOf('Grüße 🙂'), '223e2d70-6991-5efc-a067-084936962ffd');
  assert.equal(partPointIdOf('42', 1), '064ec53f-04c1-5966-9206-e4aeacae5430');
});

test('what only looks like a number is not one', () => {
  for (const id of ['007', '-0', '1e3', '+5', ' 5', '1.0', '9007199254740992', '18446744073709551615'])
    assert.match(String(pointIdOf(id)), /^[0-9a-f-]{36}$/, id);
});

const documentId = fc.oneof(
  fc.string({ minLength: 1, unit: 'grapheme' }).filter((id) => !id.includes('\0')),
  fc.nat().map(String),
  fc.uuid(),
);

test('a Qdrant id, the same each time, and one for each document and part', () => {
  fc.assert(
    fc.property(fc.uniqueArray(documentId, { selector: (id) => id.toLowerCase(), maxLength: 20 }), (ids) => {
      const seen = new Set<number | string>();
      for (const id of ids)
        for (const part of [0, 1, 2, 10]) {
          const point = partPointIdOf(id, part);
          assert.equal(point, partPointIdOf(id, part));
          if (typeof point === 'number') assert.ok(Number.isSafeInteger(point) && point >= 0);
          else assert.match(point, /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/);
          assert.ok(!seen.has(point), `${id} part ${part}`);
          seen.add(point);
        }
    }),
  );
});
