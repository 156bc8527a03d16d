import assert from 'node:assert/strict';
import test from 'node:test';
import { emptyColumns } from '@trivec/core/vectors/arrow';
import { parquetFile } from '@trivec/core/vectors/parquet';
import { ParquetFooter } from '@trivec/core/vectors/parquetFooter';
import { columnsOf, type ResultColumns, type ResultRow } from '@trivec/core/vectors/resultColumns';
import type { Output } from '@trivec/core/vectors/types';
import { parquetMetadata, parquetReadObjects } from 'hyparquet';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';

const OUTPUTS: Output[] = ['dense', 'sparse', 'colbert'];
const DIMS = { dense: 3, colbert: 2 };

function row(i: number, terms = i % 4): ResultRow {
  return {
    id: `d${i} é`,
    chunk: i % 2,
    start: i,
    end: i + 10,
    vectors: {
      tokens: terms + 2,
      dense: Float32Array.from([i, -0.5, 1 / 3]),
      sparse: {
        indices: Uint32Array.from({ length: terms }, (_, k) => 4_000_000_000 + k),
        values: Float32Array.from({ length: terms }, (_, k) => (k + 1) / 7),
      },
      colbert: { rows: terms, dims: 2, data: Float32Array.from({ length: terms * 2 }, (_, k) => k / 4) },
    },
  };
}

async function write(shards: readonly ResultColumns[], spans = true) {
  async function* each() {
    yield* shards;
  }
  const parts = await Array.fromAsync(
    parquetFile(each(), emptyColumns(OUTPUTS, DIMS, { spans }), { model: 'fake' }),
  );
  const bytes = Buffer.concat(parts);
  return {
    parts,
    file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer,
  };
}

test('a Parquet file of several shards reads back as what went in', async () => {
  const rows = Array.from({ length: 11 }, (_, i) => row(i));
  const shards = [
    await columnsOf(rows.slice(0, 4), OUTPUTS, DIMS, { spans: true }),
    await columnsOf(rows.slice(4), OUTPUTS, DIMS, { spans: true }),
  ];
  const { file } = await write(shards);
  const read = await parquetReadObjects({ file, utf8: false });
  assert.deepEqual(
    read.map((object) => ({
      ...object,
      colbert: [...new Float16Array(Uint8Array.from(object.colbert).buffer)],
    })),
    rows.map(({ id, chunk, start, end, vectors }) => ({
      id,
      chunk,
      tokens: vectors.tokens,
      start,
      end,
      dense: [...vectors.dense!],
      sparse: { indices: [...vectors.sparse!.indices], values: [...vectors.sparse!.values] },
      colbert: [...vectors.colbert!.data],
    })),
  );
  const { key_value_metadata } = parquetMetadata(file);
  assert.deepEqual(key_value_metadata, [
    { key: 'model', value: 'fake' },
    { key: 'colbert_dims', value: '2' },
  ]);
});

test('no rows make a file that has only a schema', async () => {
  const { file } = await write([], false);
  const { num_rows, schema } = parquetMetadata(file);
  assert.equal(num_rows, 0n);
  assert.deepEqual(
    schema.filter(({ name }) => ['id', 'start', 'dense', 'colbert'].includes(name)).map(({ name }) => name),
    ['id', 'dense', 'colbert'],
  );
});

test('a large shard is given out in pieces of bounded size', async () => {
  const rows = Array.from({ length: 6 }, (_, i) => row(i, 300_000));
  const { parts, file } = await write([await columnsOf(rows, OUTPUTS, DIMS, { spans: true })]);
  assert.ok(parts.length >= 6);
  const largest = Math.max(...parts.map(({ length }) => length));
  assert.ok(largest < file.byteLength / 4);
  assert.equal(parquetMetadata(file).num_rows, 6n);
});

test('ColBERT bounds a row group, too', async () => {
  const colbert = { rows: 100_000, dims: 2, data: new Float32Array(200_000).fill(0.5) };
  const rows = Array.from({ length: 20 }, (_, i) => ({
    ...row(i),
    vectors: { ...row(i).vectors, colbert },
  }));
  const { parts, file } = await write([await columnsOf(rows, OUTPUTS, DIMS, { spans: true })]);
  assert.ok(file.byteLength > 8_000_000);
  assert.ok(parts.every(({ length }) => length < 5_000_000));
  assert.equal(parquetMetadata(file).num_rows, 20n);
});

test('the footer that grows with the file is, byte for byte, the one that the library writes at its end', () => {
  const schema = [
    { name: 'schema', num_children: 1 },
    { name: 'n', type: 'INT32' as const, repetition_type: 'REQUIRED' as const },
  ];
  for (const groups of [0, 1, 14, 15, 200]) {
    const writer = new ByteWriter();
    const kvMetadata = [{ key: 'model', value: 'fake' }];
    const file = new ParquetWriter({ writer, schema, kvMetadata, createdBy: 'trivec', statistics: false });
    const footer = new ParquetFooter();
    for (let i = 0; i < groups; i++) {
      file.write({
        columnData: [{ name: 'n', data: Array.from({ length: 1 + i }, (_, k) => k) }],
        rowGroupSize: 1 + i,
      });
      footer.add(file.row_groups.at(-1)!);
    }
    const dataBytes = writer.index;
    file.finish();
    const grown = footer.bytes({
      version: 2,
      schema,
      num_rows: file.num_rows,
      key_value_metadata: kvMetadata,
      created_by: 'trivec',
    });
    assert.deepEqual(
      Buffer.from(grown),
      Buffer.from(writer.getBytes().subarray(dataBytes, -4)),
      `${groups} groups`,
    );
  }
});
