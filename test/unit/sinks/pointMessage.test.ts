import assert from 'node:assert/strict';
import test from 'node:test';
import { fromBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { encodePoint, PointPacker } from '../../../packages/core/src/sinks/qdrant/encoding.ts';
import { pointMessage } from '../../../packages/core/src/sinks/qdrant/pointMessage.ts';
import type { Point } from '../../../packages/core/src/sinks/qdrant/points.ts';
import { POINT_STRUCT, type PointMessage, pointOf } from '../../support/qdrantMessages.ts';

const TRIVEC = { id: 'a', job: 'j', chunk: 0, point: 0, points: 1 };

function point(payload: object, rest: Partial<Point> = {}): Point {
  return { id: 1, vectors: new Map(), ...rest, payload: { ...payload, trivec: TRIVEC } };
}

function read(bytes: Uint8Array): PointMessage {
  return fromBinary(POINT_STRUCT, bytes) as unknown as PointMessage;
}

const asJson = (made: Point) => JSON.parse(Buffer.from(encodePoint(made, 'json').bytes).toString('utf8'));

test('a message says what JSON says: ids, vectors, payload', () => {
  const finite = fc.float({ noNaN: true, noDefaultInfinity: true }).map((value) => value + 0);
  const id = fc.oneof(fc.nat({ max: Number.MAX_SAFE_INTEGER }), fc.uuid());
  // Keys that objects treat as their own are not what is asked here.
  const payload = fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), fc.jsonValue({ noUnicodeString: false }));
  fc.assert(
    fc.property(
      id,
      payload,
      fc.array(finite, { minLength: 1 }),
      fc.uniqueArray(fc.nat({ max: 2 ** 32 - 1 })),
      fc.array(fc.tuple(finite, finite, finite), { minLength: 1 }),
      (pointId, fields, dense, indices, rows) => {
        const values = new Float32Array(indices.length).fill(0.1);
        const made = point(JSON.parse(JSON.stringify(fields)), {
          id: pointId,
          vectors: new Map([
            ['', { kind: 'dense', values: Float32Array.from(dense) }],
            ['s', { kind: 'sparse', indices: Uint32Array.from(indices), values }],
            ['c', { kind: 'multi', dims: 3, values: Float32Array.from(rows.flat()) }],
          ]),
        });
        const float32 = (_key: string, value: unknown) =>
          typeof value === 'number' ? Math.fround(value) : value;
        const round = (value: unknown) => JSON.parse(JSON.stringify(value), float32);
        const message = pointMessage(made);
        if (message === undefined) return;
        const { vector, ...got } = pointOf(read(message));
        const { vector: wantedVector, ...wanted } = asJson(made);
        assert.deepEqual(JSON.parse(JSON.stringify(got)), wanted);
        assert.deepEqual(round(vector), round(wantedVector));
      },
    ),
  );
});

test('numbers are integers where JSON prints them so', () => {
  const numbers = { a: 1, b: -1, c: 0.5, d: 2 ** 60, e: -(2 ** 53), f: 2 ** 63, g: 1e21, h: 1e-7, i: -0 };
  const { payload } = read(pointMessage(point(numbers))!);
  const kinds = Object.keys(numbers).map((key) => [payload[key]!.choice.case, payload[key]!.choice.value]);
  assert.deepEqual(kinds, [
    ['integerValue', 1n],
    ['integerValue', -1n],
    ['doubleValue', 0.5],
    // As JSON.stringify prints it, so that both ways write the same.
    ['integerValue', 1152921504606847000n],
    ['integerValue', -9007199254740992n],
    ['doubleValue', 2 ** 63],
    ['doubleValue', 1e21],
    ['doubleValue', 1e-7],
    ['integerValue', 0n],
  ]);
});

test('null, infinities, lone surrogates and empty things', () => {
  const { payload } = pointOf(
    read(pointMessage(point({ a: null, b: Number.POSITIVE_INFINITY, c: 'x\ud800', d: [], e: {}, f: '' }))!),
  );
  assert.deepEqual(payload, { a: null, b: null, c: 'x\ufffd', d: [], e: {}, f: '', trivec: TRIVEC });
});

test('two rows of whole numbers, and float16, stay what they are', () => {
  const values = new Float16Array([1, 0, 0.5, 0.5]);
  const made = point({}, { vectors: new Map([['c', { kind: 'multi', dims: 2, values }]]) });
  assert.deepEqual(pointOf(read(pointMessage(made)!)).vector, {
    c: [
      [1, 0],
      [0.5, 0.5],
    ],
  });
});

test('a payload that is nested too deeply for messages goes as JSON, in a request of its own kind', () => {
  const nested = (depth: number) => {
    let value: unknown = 1;
    for (let level = 0; level < depth; level++) value = level % 2 ? [value] : { a: value };
    return { value };
  };
  const wires = [5, 31, 32, 200, 5].map((depth) => encodePoint(point(nested(depth)), 'protobuf'));
  assert.deepEqual(
    wires.map(({ wire }) => wire),
    ['protobuf', 'protobuf', 'json', 'json', 'protobuf'],
  );
  const packer = new PointPacker({ maxBytes: 1e6, maxPoints: 100 });
  const groups = [...wires.map((encoded) => packer.add(encoded)), packer.take()].filter(
    (group) => group !== undefined,
  );
  assert.deepEqual(groups, [wires.slice(0, 2), wires.slice(2, 4), wires.slice(4)]);
});
