import assert from 'node:assert/strict';
import test from 'node:test';
import { TrivecError } from '@trivec/core/errors';
import { errorFromWire, errorToWire, packMessage, unpackMessage } from '@trivec/core/replies/wire';
import fc from 'fast-check';

const leaf = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.integer(),
  fc.double({ noNaN: true }).filter((value) => !Object.is(value, -0)),
  fc.boolean(),
  fc.constant(null),
  fc.float32Array(),
  fc.uint32Array(),
  fc.int32Array(),
  fc.uint8Array(),
);
const { value } = fc.letrec((tie) => ({
  value: fc.oneof({ depthSize: 'small' }, leaf, fc.array(tie('value')), fc.dictionary(key(), tie('value'))),
}));

function key(): fc.Arbitrary<string> {
  return fc.string().filter((name) => name !== '__proto__');
}

test('what is packed comes back, typed arrays bit for bit', () => {
  fc.assert(
    fc.property(value, (original) => {
      const message = unpackMessage(packMessage({ id: 'i', kind: 'reply', value: original }));
      assert.ok(message.kind === 'reply');
      assert.deepEqual(message.value, structuredClone(original));
    }),
  );
});

test('a message holds no more of a shared buffer than its view', () => {
  const view = new Float32Array(1_000_000).subarray(10, 12);
  view.set([1, 2]);
  const bytes = packMessage({ id: 'i', kind: 'reply', value: view });
  assert.ok(bytes.length < 100);
  assert.deepEqual(unpackMessage(bytes), { id: 'i', kind: 'reply', value: new Float32Array([1, 2]) });
});

test('an error of ours survives, any other becomes internal', () => {
  const error = new TrivecError('overloaded', 'busy', { param: 'input', retryAfterSeconds: 3 });
  const back = errorFromWire(errorToWire(error));
  assert.ok(back instanceof TrivecError);
  assert.deepEqual(
    [back.code, back.message, back.param, back.retryAfterSeconds],
    ['overloaded', 'busy', 'input', 3],
  );
  assert.equal(errorFromWire(errorToWire(new RangeError('odd'))).code, 'internal');
  assert.equal(errorFromWire({ code: 'of_a_later_version', message: 'm' }).code, 'internal');
  assert.equal(errorFromWire({ code: 'constructor', message: 'm' }).code, 'internal');
});
