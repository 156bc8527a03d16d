import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import {
  aloneBytes,
  encodePoint,
  PointPacker,
  upsertBody,
} from '../../../packages/core/src/sinks/qdrant/encoding.ts';
import { maxMultivectorRows, type Point, pointsOf } from '../../../packages/core/src/sinks/qdrant/points.ts';
import { randomColbert, sinkDocument } from '../../support/sinkDocuments.ts';

const RULES = {
  vectors: { dense: 'dense', sparse: 'sparse', colbert: 'colbert' },
  payload: true,
  text: true,
  colbertOverflow: 'chunk',
} as const;

const jsonOf = (point: Point) => Buffer.from(encodePoint(point, 'json').bytes).toString('utf8');

function made(result: ReturnType<typeof pointsOf>): Point[] {
  assert.ok('points' in result);
  return result.points;
}

test('a document becomes a point that says where it came from', () => {
  const document = sinkDocument('doc-1', 7, { dims: 4, rows: 3, payload: { lang: 'en', url: 'u' } });
  const [point, ...others] = made(pointsOf(document, RULES, 'job-1'));
  assert.equal(others.length, 0);
  assert.deepEqual(point!.payload, {
    lang: 'en',
    url: 'u',
    text: document.texts[0]!.text,
    trivec: { id: 'doc-1', job: 'job-1', chunk: 0, point: 0, points: 1 },
  });
  assert.deepEqual([...point!.vectors.keys()], ['dense', 'sparse', 'colbert']);
});

test('chunks are points of their own, and only what is named is sent', () => {
  const document = sinkDocument('42', 7, { dims: 4, rows: 3, chunks: 3, payload: { lang: 'en', url: 'u' } });
  const points = made(
    pointsOf(document, { ...RULES, vectors: { sparse: 's' }, payload: ['url', 'none'], text: false }, 'j'),
  );
  assert.deepEqual(
    points.map(({ payload }) => payload),
    [0, 1, 2].map((chunk) => ({ url: 'u', trivec: { id: '42', job: 'j', chunk, point: chunk, points: 3 } })),
  );
  assert.equal(points[0]!.id, 42);
  assert.equal(new Set(points.map(({ id }) => id)).size, 3);
  for (const point of points) assert.deepEqual([...point.vectors.keys()], ['s']);
});

test('a text of no ColBERT rows has none in Qdrant, which refuses an empty one', () => {
  const document = sinkDocument('a', 1, { dims: 4, rows: 0 });
  assert.deepEqual([...made(pointsOf(document, RULES, 'j'))[0]!.vectors.keys()], ['dense', 'sparse']);
});

test('a multivector holds 1,023 rows of 1024', () => {
  assert.equal(maxMultivectorRows(1024), 1023);
  assert.equal(maxMultivectorRows(128), 8191);
  assert.equal(maxMultivectorRows(1000), 1048);
});

const DIMS = 65_536;
const LIMIT = maxMultivectorRows(DIMS);

test('a ColBERT matrix over the limit: chunk, pool, drop, fail', () => {
  const rows = LIMIT * 2 + 1;
  const document = sinkDocument('long', 3, { dims: DIMS, rows });
  const { data } = document.texts[0]!.colbert!;
  const overflow = (colbertOverflow: 'chunk' | 'pool' | 'drop' | 'fail') =>
    pointsOf(document, { ...RULES, vectors: { colbert: 'c' }, colbertOverflow }, 'j');
  const matrix = (point: Point) => {
    const vector = point.vectors.get('c');
    assert.ok(vector?.kind === 'multi');
    return vector.values;
  };

  const parts = made(overflow('chunk'));
  assert.equal(parts.length, 3);
  assert.deepEqual(
    parts.map(({ payload }) => payload.trivec.chunk),
    [0, 0, 0],
  );
  const joined = Buffer.concat(parts.map((part) => Buffer.from(matrix(part).slice().buffer)));
  assert.ok(joined.equals(Buffer.from(data.slice().buffer)), 'every row is kept, in order');
  for (const part of parts) assert.ok(matrix(part).length < 1_048_576);

  const [pooled] = made(overflow('pool'));
  assert.equal(matrix(pooled!).length, Math.ceil(rows / 3) * DIMS);
  const sums = Array.from({ length: DIMS }, (_, i) => data[i]! + data[DIMS + i]! + data[2 * DIMS + i]!);
  const norm = Math.hypot(
    ...sums.slice(0, 1000),
    Math.hypot(...sums.slice(1000, 40_000)),
    Math.hypot(...sums.slice(40_000)),
  );
  for (const i of [0, 1, DIMS - 1]) assert.ok(Math.abs(matrix(pooled!)[i]! - sums[i]! / norm) < 1e-5);

  const [dropped] = made(overflow('drop'));
  assert.equal(dropped!.vectors.size, 0);
  const failed = overflow('fail');
  assert.ok('refused' in failed);
  assert.match(failed.refused, new RegExp(`${rows} rows of ${DIMS}; Qdrant takes at most ${LIMIT}`));
  for (const way of ['chunk', 'pool', 'drop'] as const) {
    const result = overflow(way);
    assert.ok('points' in result && result.overflowed === 1);
  }
});

test('encoded floats read back as the same float32', () => {
  const finite = fc.float({ noNaN: true, noDefaultInfinity: true });
  fc.assert(
    fc.property(
      fc.array(finite, { minLength: 1 }),
      fc.uniqueArray(fc.nat({ max: 2 ** 32 - 1 })),
      fc.array(fc.tuple(finite, finite, finite), { minLength: 1 }),
      (dense, indices, matrix) => {
        const point: Point = {
          id: 1,
          vectors: new Map([
            ['d', { kind: 'dense', values: Float32Array.from(dense) }],
            [
              's',
              {
                kind: 'sparse',
                indices: Uint32Array.from(indices),
                values: new Float32Array(indices.length).fill(0.1),
              },
            ],
            ['c', { kind: 'multi', dims: 3, values: Float32Array.from(matrix.flat()) }],
          ]),
          payload: { trivec: { id: 'a', job: 'j', chunk: 0, point: 0, points: 1 } },
        };
        const { vector } = JSON.parse(jsonOf(point));
        const plusZero = (values: number[]) => values.map((value) => Math.fround(value) + 0);
        assert.deepEqual(plusZero(vector.d), plusZero(dense));
        assert.deepEqual(vector.s.indices, indices);
        assert.deepEqual(vector.c.map(plusZero), matrix.map(plusZero));
      },
    ),
  );
});

test('two rows of whole numbers are written so that Qdrant does not take them for a sparse vector', () => {
  const values = Float32Array.from([1, 0, 0.5, 0.5]);
  const point: Point = {
    id: 1,
    vectors: new Map([['c', { kind: 'multi', dims: 2, values }]]),
    payload: { trivec: { id: 'a', job: 'j', chunk: 0, point: 0, points: 1 } },
  };
  assert.match(jsonOf(point), /"c":\[\[1\.0,0\.0\],\[0\.5,0\.5\]\]/);
});

test('lone surrogates do not reach the wire; escapes and `__proto__` do', () => {
  const payload = JSON.parse('{"a":"x\\ud800y","b":["\\udc00"],"c":"\\\\ud800 🙂","__proto__":{"d":1}}');
  const document = sinkDocument('a', 1, { dims: 4, rows: 1, payload });
  const encoded = jsonOf(made(pointsOf(document, RULES, 'j'))[0]!);
  const read = JSON.parse(encoded).payload;
  assert.equal(read.a, 'x\ufffdy');
  assert.deepEqual(read.b, ['\ufffd']);
  assert.equal(read.c, '\\ud800 🙂');
  assert.deepEqual(Object.getOwnPropertyDescriptor(read, '__proto__')?.value, { d: 1 });
});

test('packing keeps order, loses none and stays under its limits', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat({ max: 5000 }), { maxLength: 60 }),
      fc.integer({ min: 64, max: 8000 }),
      fc.integer({ min: 1, max: 20 }),
      (sizes, maxBytes, maxPoints) => {
        const packer = new PointPacker({ maxBytes, maxPoints });
        const points = sizes.map((size, i) => ({
          id: i,
          documentId: String(i),
          wire: 'json' as const,
          bytes: Buffer.alloc(size, 'x'),
        }));
        const groups = [...points.map((point) => packer.add(point)), packer.take()].filter(
          (group) => group !== undefined,
        );
        assert.deepEqual(groups.flat(), points);
        for (const group of groups) {
          assert.ok(group.length > 0 && group.length <= maxPoints);
          const bytes = upsertBody(group).length;
          assert.ok(bytes <= maxBytes || group.length === 1, `${bytes} bytes in ${group.length} points`);
          if (group.length === 1) assert.equal(bytes, aloneBytes(group[0]!));
        }
      },
    ),
  );
});

test('float16 and float32 matrices of the same values make the same body', () => {
  const wide = randomColbert(5, 4, 9);
  const half = new Float16Array(wide.data);
  const document = (data: Float32Array | Float16Array) => ({
    id: 'a',
    texts: [{ colbert: { rows: 5, dims: 4, data } }],
  });
  const body = (data: Float32Array | Float16Array) => jsonOf(made(pointsOf(document(data), RULES, 'j'))[0]!);
  assert.equal(body(half), body(Float32Array.from(half)));
});
