import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { measureActivations } from '@trivec/core/onnx/activationStatistics';
import {
  DataType,
  encodeModel,
  floatTensor,
  int64Tensor,
  makeNode,
  makeValueInfo,
} from '@trivec/core/onnx/proto';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { GraphProtoSchema, ModelProtoSchema } from '../../../packages/core/src/onnx/proto/onnx_pb.js';

const [ROWS, DIMS] = [12, 16];
/** The table's row that holds nothing but infinities. */
const INFINITE = 11;
const NORMALIZED = { activation: 'normalized', inDims: DIMS };

/** The end of a normalisation, of tokens without the texts' dimension; int32 ids, and a decoder's past. */
async function writeGraph(t: TestContext): Promise<string> {
  const table = Float32Array.from({ length: ROWS * DIMS }, (_, at) =>
    Math.floor(at / DIMS) === INFINITE ? Number.POSITIVE_INFINITY : Math.sin(at * at + 1),
  );
  const gains = Float32Array.from({ length: DIMS }, (_, at) => 1 + at / 4);
  const graph = create(GraphProtoSchema, {
    name: 'tokens',
    node: [
      makeNode('Gather', ['table', 'input_ids'], ['looked_up']),
      makeNode('Reshape', ['looked_up', 'flat'], ['tokens']),
      makeNode('Mul', ['tokens', 'gains'], ['scaled']),
      makeNode('Add', ['scaled', 'offsets'], ['normalized']),
    ],
    initializer: [
      floatTensor('table', [ROWS, DIMS], table),
      int64Tensor('flat', [2], [-1n, BigInt(DIMS)]),
      floatTensor('gains', [DIMS], gains),
      floatTensor('offsets', [DIMS], gains),
    ],
    input: [
      makeValueInfo('input_ids', DataType.INT32, ['texts', 'tokens']),
      makeValueInfo('past_key_values.0.key', DataType.FLOAT, ['texts', 2, 'past', 8]),
    ],
    output: [makeValueInfo('normalized', DataType.FLOAT, ['all', DIMS])],
  });
  const folder = await mkdtemp(join(tmpdir(), 'statistics-'));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, 'model.onnx');
  const opsetImport = [{ domain: '', version: 17n }];
  await writeFile(path, encodeModel(create(ModelProtoSchema, { irVersion: 8n, opsetImport, graph })));
  return path;
}

test('peaks and moments are those of all tokens, whatever the rank of the activation and the inputs', async (t) => {
  const path = await writeGraph(t);
  const texts = [
    [0, 3, 5, 1],
    [7, 2],
  ];
  const session = await InferenceSession.create(path);
  t.after(() => session.release());
  const ids = texts.flat();
  const { normalized } = await session.run({
    input_ids: new Tensor('int32', Int32Array.from(ids), [1, ids.length]),
    'past_key_values.0.key': new Tensor('float32', new Float32Array(0), [1, 2, 0, 8]),
  });
  const rows = ids.map((_, at) => [...(normalized!.data as Float32Array).slice(at * DIMS, (at + 1) * DIMS)]);

  const { peaks, moments } = (await measureActivations(path, [NORMALIZED], texts)).get('normalized')!;
  const isClose = (found: number, wanted: number) =>
    assert.ok(Math.abs(found - wanted) < 1e-4, `${found} ${wanted}`);
  assert.equal(peaks?.length, DIMS);
  assert.equal(moments.values.length, DIMS * moments.block);
  for (let i = 0; i < DIMS; i++) {
    isClose(peaks[i]!, Math.max(...rows.map((row) => Math.abs(row[i]!))));
    for (let j = 0; j < DIMS; j++)
      isClose(
        moments.values[i * DIMS + j]!,
        rows.reduce((sum, row) => sum + row[i]! * row[j]!, 0),
      );
  }
});

test('channels are not evened out by numbers that are not finite', async (t) => {
  const statistics = await measureActivations(
    await writeGraph(t),
    [NORMALIZED],
    [
      [1, INFINITE, 2],
      [3, 4],
    ],
  );
  assert.equal(statistics.get('normalized')!.peaks, undefined);
});

test('a model that cannot run the texts is named as the fault, and measuring ends when it is asked to', async (t) => {
  const path = await writeGraph(t);
  await assert.rejects(measureActivations(path, [NORMALIZED], [[ROWS]]), { code: 'invalid_model' });
  const stop = AbortSignal.abort(new Error('stopped'));
  await assert.rejects(measureActivations(path, [NORMALIZED], [[1]], stop), /^Error: stopped$/);
});
