import assert from 'node:assert/strict';
import test from 'node:test';
import { arrowFile, arrowStream, emptyColumns, readArrow } from '@trivec/core/vectors/arrow';
import { JsonBytes } from '@trivec/core/vectors/jsonBytes';
import {
  columnsOf,
  type ResultColumns,
  type ResultRow,
  sliceColumns,
  vectorsAt,
} from '@trivec/core/vectors/resultColumns';
import { writeResultLine } from '@trivec/core/vectors/resultLine';
import { OUTPUTS, type Output } from '@trivec/core/vectors/types';
import { tableFromIPC } from 'apache-arrow';
import fc from 'fast-check';

const halfs = fc.float({ min: -1, max: 1, noNaN: true }).map((value) => Math.f16round(value));
const row = fc.record({
  id: fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }),
  chunk: fc.nat(5),
  tokens: fc.nat(100),
  dense: fc.float32Array({ minLength: 3, maxLength: 3, noNaN: true, noDefaultInfinity: true }),
  sparse: fc.dictionary(fc.nat(9).map(String), fc.float({ min: Math.fround(0.01), max: 1, noNaN: true })),
  colbert: fc.array(fc.tuple(halfs, halfs), { maxLength: 4 }),
});

const rowsOf = fc.array(row, { maxLength: 6 }).map((rows) =>
  rows.map(
    ({ id, chunk, tokens, dense, sparse, colbert }): ResultRow => ({
      id,
      chunk,
      vectors: {
        tokens,
        dense,
        sparse: {
          indices: Uint32Array.from(Object.keys(sparse), Number),
          values: Float32Array.from(Object.values(sparse)),
        },
        colbert: { rows: colbert.length, dims: 2, data: Float32Array.from(colbert.flat()) },
      },
    }),
  ),
);
const outputsOf = fc.subarray([...OUTPUTS]) as fc.Arbitrary<Output[]>;
const DIMS = { dense: 3, colbert: 2 };

function rowsIn(columns: ResultColumns): ResultRow[] {
  return columns.ids.map((id, i) => ({ id, chunk: columns.chunks[i]!, vectors: vectorsAt(columns, i) }));
}

function only(rows: readonly ResultRow[], outputs: readonly Output[]): ResultRow[] {
  return rows.map(({ id, chunk, vectors }) => ({
    id,
    chunk,
    vectors: Object.fromEntries(
      Object.entries(vectors).filter(([name]) => name === 'tokens' || outputs.includes(name as Output)),
    ) as unknown as ResultRow['vectors'],
  }));
}

test('an Arrow file gives back the rows it was made from, any part of them, at any alignment', async () => {
  await fc.assert(
    fc.asyncProperty(
      rowsOf,
      outputsOf,
      fc.nat(6),
      fc.nat(6),
      fc.nat(7),
      async (rows, outputs, a, b, shift) => {
        const columns = await columnsOf(rows, outputs, DIMS);
        const file = arrowFile(columns);
        const shifted = new Uint8Array(file.length + shift).subarray(shift);
        shifted.set(file);
        const read = readArrow(shifted);
        assert.deepEqual(rowsIn(read), only(rows, outputs));
        const begin = Math.min(a, b, rows.length);
        const end = Math.min(Math.max(a, b), rows.length);
        const part = sliceColumns(read, begin, end);
        assert.deepEqual(rowsIn(part), only(rows, outputs).slice(begin, end));
        assert.deepEqual(rowsIn(readArrow(arrowFile(part))), rowsIn(part));
      },
    ),
    { numRuns: 60 },
  );
});

test('an Arrow stream of several shards is one table with one schema, also when it is empty', async () => {
  const rows = (from: number, count: number): ResultRow[] =>
    Array.from({ length: count }, (_, i) => ({
      id: `d${from + i}`,
      chunk: 0,
      vectors: { tokens: 3, dense: Float32Array.of(from, i, 0.5) },
    }));
  const shards = [rows(0, 3), rows(3, 1), rows(4, 2)].map((part) => columnsOf(part, ['dense'], DIMS));
  const table = await collectTable(await Promise.all(shards), emptyColumns(['dense'], DIMS));
  assert.equal(table.batches.length, 3);
  assert.deepEqual(
    [...table].map((item) => item.id),
    ['d0', 'd1', 'd2', 'd3', 'd4', 'd5'],
  );
  assert.deepEqual([...table.get(5)!.dense.toArray()], [4, 1, 0.5]);
  assert.equal(table.schema.metadata.get('model'), 'm');
  const none = await collectTable([], emptyColumns([...OUTPUTS], DIMS));
  assert.equal(none.numRows, 0);
  assert.deepEqual(
    none.schema.fields.map((field) => `${field.name}: ${field.type}`),
    [
      'id: Utf8',
      'chunk: Int32',
      'tokens: Int32',
      'dense: FixedSizeList[3]<Float32>',
      'sparse: Struct<{indices:List<Uint32>, values:List<Float32>}>',
      'colbert: List<FixedSizeList[2]<Float16>>',
    ],
  );
});

test('a shard of another shape breaks the stream aloud', async () => {
  const strange = await columnsOf(
    [{ id: 'a', chunk: 0, vectors: { tokens: 1, dense: new Float32Array(4) } }],
    ['dense'],
  );
  await assert.rejects(collectTable([strange], emptyColumns(['dense'], DIMS)), { code: 'internal' });
});

async function collectTable(shards: ResultColumns[], empty: ResultColumns) {
  async function* all() {
    yield* shards;
  }
  const chunks: Uint8Array[] = [];
  for await (const chunk of arrowStream(all(), empty, { model: 'm' })) chunks.push(chunk);
  return tableFromIPC(Buffer.concat(chunks));
}

test('a row without an output that the job has is a mistake that shows', async () => {
  const rows: ResultRow[] = [{ id: 'a', chunk: 0, vectors: { tokens: 1 } }];
  await assert.rejects(columnsOf(rows, ['sparse']), /lacks its sparse/);
  await assert.rejects(columnsOf(rows, ['dense'], DIMS), /dense/);
});

function printed(value: number): string {
  const out = new JsonBytes(4);
  out.float32(value);
  return out.take().toString();
}

test('a float32 is printed by the fewest digits that read back as the same float32', () => {
  fc.assert(
    fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (value) => {
      const text = printed(value);
      assert.equal(Math.fround(JSON.parse(text)) + 0, value + 0, text);
      const digits = text.replace(/e.*/, '').replace(/\D/g, '').replace(/^0+/, '').replace(/0+$/, '').length;
      const fewest = [1, 2, 3, 4, 5, 6, 7, 8, 9].find(
        (count) => Math.fround(Number(value.toPrecision(count))) === value,
      );
      assert.ok(digits <= (fewest ?? 9), `${text} has ${digits} digits, ${fewest} are enough`);
    }),
    { numRuns: 3000 },
  );
  for (const text of [
    '0',
    '0.1',
    '1',
    '-0.5',
    '123456',
    '100',
    '-0.03',
    '0.000012',
    '1.5e-9',
    '-1e+21',
    '3.4e+38',
  ])
    assert.equal(printed(Math.fround(Number(text))), text);
  assert.equal(printed(Number.NaN), 'null');
});

test('a result line is the JSON of the contract, with the numbers of the Arrow file', async () => {
  await fc.assert(
    fc.asyncProperty(
      rowsOf,
      outputsOf,
      fc.integer({ min: 1, max: 200 }),
      async (rows, outputs, partBytes) => {
        const columns = await columnsOf(rows, outputs, DIMS);
        const out = new JsonBytes(8);
        const parts: Buffer[] = [];
        for (let i = 0; i < columns.length; i++)
          for (const _ of writeResultLine(out, columns, i, partBytes)) parts.push(out.take());
        parts.push(out.take());
        const lines = Buffer.concat(parts).toString().split('\n').slice(0, -1);
        assert.equal(lines.length, rows.length);
        lines.forEach((line, i) => {
          const { dense, sparse, colbert, ...rest } = JSON.parse(line);
          const { tokens, ...vectors } = only(rows, outputs)[i]!.vectors;
          assert.deepEqual(rest, { id: rows[i]!.id, chunk: rows[i]!.chunk, tokens });
          if (vectors.dense) assertSame(dense, vectors.dense);
          if (vectors.sparse) {
            assert.deepEqual(sparse.indices, [...vectors.sparse.indices]);
            assertSame(sparse.values, vectors.sparse.values);
          }
          if (vectors.colbert) assertSame(colbert.flat(), vectors.colbert.data);
          assert.deepEqual(Object.keys(JSON.parse(line)).slice(3), outputs);
        });
      },
    ),
    { numRuns: 60 },
  );
});

function assertSame(parsed: number[], values: Float32Array): void {
  assert.deepEqual(
    parsed.map((value) => Math.fround(value) + 0),
    [...values].map((value) => value + 0),
  );
}

test('each of the 65,536 float16 is printed as floats print it', () => {
  const all = new Float16Array(Uint16Array.from({ length: 65_536 }, (_, bits) => bits).buffer);
  for (const values of [all, all.subarray(1, 777)]) {
    const [halves, floats] = [new JsonBytes(), new JsonBytes()];
    for (let round = 0; round < 2; round++) {
      halves.halves(values);
      floats.floats(values);
    }
    assert.ok(halves.take().equals(floats.take()));
  }
});
