/** The files that bench/quantize.ts compares, and the plain products that bound what int8 can reach. */

import { create } from '@bufbuild/protobuf';
import type { GraphEditor } from '@trivec/core/onnx/graphEditor';
import { type ProductRounding, type StoreTensor, storeColumns } from '@trivec/core/onnx/productRounding';
import { DataType, encodeModel, makeNode, makeTensor, makeValueInfo } from '@trivec/core/onnx/proto';
import type { WeightProduct } from '@trivec/core/onnx/weightProducts';
import { GraphProtoSchema, ModelProtoSchema } from '../packages/core/src/onnx/proto/onnx_pb.js';
import type { EncoderSize } from './models/encoder.ts';

/** What the published int8 files do: one scale for the whole batch (DynamicQuantizeLinear, MatMulInteger, fused). */
export class DynamicInt8 implements ProductRounding {
  readonly needs = { opset: 11, operator: 'DynamicQuantizeLinear' };
  private readonly editor: GraphEditor;
  private readonly storeTensor: StoreTensor;

  constructor(editor: GraphEditor, storeTensor: StoreTensor) {
    this.editor = editor;
    this.storeTensor = storeTensor;
  }

  store(product: WeightProduct, weight: Float32Array) {
    return storeColumns(this.editor, this.storeTensor, product, weight);
  }

  emit(
    { node, activation, bias, output }: WeightProduct,
    { values, scales }: { values: string; scales: string },
  ) {
    this.editor.replace(node, () => {
      const inputs = [activation, values, scales, '', ...(bias === undefined ? [] : [bias])];
      this.editor.op('DynamicQuantizeMatMul', inputs, 'product', { domain: 'com.microsoft', output });
    });
  }
}

/** The six weight products of one layer on rounded input and nothing else: the speed int8 could have at most. */
export function plainProducts({ hidden, feedForward }: EncoderSize): {
  bytes: Uint8Array;
  inputs: Record<string, number>;
  /** One of the outputs: all are computed all the same, but copying them out would take as long as a product. */
  fetches: readonly string[];
} {
  const shapes = [
    [hidden, hidden],
    [hidden, hidden],
    [hidden, hidden],
    [hidden, hidden],
    [hidden, feedForward],
    [feedForward, hidden],
  ] as const;
  const inputs = { [`x${hidden}`]: hidden, [`x${feedForward}`]: feedForward };
  const graph = create(GraphProtoSchema, {
    name: 'products',
    input: Object.entries(inputs).map(([name, dims]) => makeValueInfo(name, DataType.UINT8, ['rows', dims])),
    output: shapes.map(([, out], i) => makeValueInfo(`y${i}`, DataType.FLOAT, ['rows', out])),
    initializer: [
      makeTensor('one', DataType.FLOAT, [], Float32Array.of(1)),
      makeTensor('zero_point', DataType.UINT8, [], Uint8Array.of(128)),
      ...shapes.flatMap(([rows, columns], i) => [
        makeTensor(
          `w${i}`,
          DataType.INT8,
          [rows, columns],
          Int8Array.from({ length: rows * columns }, (_, at) => ((at * 37) % 255) - 127),
        ),
        makeTensor(`s${i}`, DataType.FLOAT, [columns], new Float32Array(columns).fill(0.01)),
      ]),
    ],
    node: shapes.map(([rows], i) =>
      makeNode(
        'MatMulIntegerToFloat',
        [`x${rows}`, `w${i}`, 'one', `s${i}`, 'zero_point'],
        [`y${i}`],
        {},
        'com.microsoft',
      ),
    ),
  });
  const opsetImport = [
    { domain: '', version: 17n },
    { domain: 'com.microsoft', version: 1n },
  ];
  return {
    bytes: encodeModel(create(ModelProtoSchema, { irVersion: 8n, opsetImport, graph })),
    inputs,
    fetches: ['y0'],
  };
}
