/**
 * Writes a random-weight encoder in XLM-RoBERTa's shape as an ONNX file with external data, so that speed can be
 * measured at any size without a download. Input: input_ids, attention_mask; output: last_hidden_state.
 */
import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { DataFileWriter } from '@trivec/core/onnx/dataFileWriter';
import {
  DataType,
  encodeModel,
  floatTensor,
  int64Tensor,
  makeNode,
  makeTensor,
  makeValueInfo,
  type NodeProto,
  type TensorProto,
} from '@trivec/core/onnx/proto';
import { GraphProtoSchema, ModelProtoSchema } from '../../packages/core/src/onnx/proto/onnx_pb.js';

export interface EncoderSize {
  layers: number;
  hidden: number;
  heads: number;
  feedForward: number;
  vocabulary: number;
  positions: number;
}

export const SIZES = {
  /** all-MiniLM-L6-v2 */
  mini: { layers: 6, hidden: 384, heads: 12, feedForward: 1536, vocabulary: 30_522, positions: 514 },
  /** BGE-M3 without most of its vocabulary, which takes no time at inference. */
  m3: { layers: 24, hidden: 1024, heads: 16, feedForward: 4096, vocabulary: 8192, positions: 8194 },
  /** BGE-M3 as large as its file. */
  'm3-full': {
    layers: 24,
    hidden: 1024,
    heads: 16,
    feedForward: 4096,
    vocabulary: 250_002,
    positions: 8194,
  },
} as const satisfies Record<string, EncoderSize>;

/** Trained feed-forward layers have a few such rows, and what int8 does about them takes time. */
const LARGE_ROWS = 16;
const LARGE = 8;

/** Writes `path` and `path_data`. The same size always gives the same file. */
export async function writeEncoder(path: string, size: EncoderSize): Promise<void> {
  const builder = new EncoderBuilder(await DataFileWriter.create(`${path}_data`, `${basename(path)}_data`));
  await builder.build(size);
  await builder.writer.close();
  const model = create(ModelProtoSchema, {
    irVersion: 8n,
    producerName: 'trivec bench',
    opsetImport: [{ domain: '', version: 17n }],
    graph: create(GraphProtoSchema, {
      name: 'encoder',
      node: builder.nodes,
      initializer: builder.initializers,
      input: ['input_ids', 'attention_mask'].map((name) =>
        makeValueInfo(name, DataType.INT64, ['batch_size', 'sequence_length']),
      ),
      output: [
        makeValueInfo('last_hidden_state', DataType.FLOAT, ['batch_size', 'sequence_length', size.hidden]),
      ],
    }),
  });
  await writeFile(path, encodeModel(model), { flag: 'wx' });
}

/** A small linear congruential generator is random enough for weights (Numerical Recipes' constants). */
let seed = 1;
function random(): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 31 - 1;
}

class EncoderBuilder {
  readonly nodes: NodeProto[] = [];
  readonly initializers: TensorProto[] = [];
  readonly writer: DataFileWriter;
  private count = 0;

  constructor(writer: DataFileWriter) {
    this.writer = writer;
    seed = 1;
  }

  async build(size: EncoderSize): Promise<void> {
    const mask = this.op('Cast', ['attention_mask'], { to: BigInt(DataType.FLOAT) });
    const gaps = this.op('Mul', [this.op('Sub', [this.float(1), mask]), this.float(-10_000)]);
    const bias = this.op('Unsqueeze', [gaps, this.int64([2], [1n, 2n])]);
    let hidden = await this.embed(size);
    for (let layer = 0; layer < size.layers; layer++) {
      const attended = await this.attention(hidden, bias, size);
      hidden = await this.norm(this.op('Add', [attended, hidden]), size.hidden);
      const widened = await this.linear(hidden, size.hidden, size.feedForward);
      const narrowed = await this.linear(this.gelu(widened), size.feedForward, size.hidden, LARGE_ROWS);
      hidden = await this.norm(this.op('Add', [narrowed, hidden]), size.hidden);
    }
    this.nodes.push(makeNode('Identity', [hidden], ['last_hidden_state']));
  }

  private async embed({ vocabulary, positions, hidden }: EncoderSize): Promise<string> {
    const words = this.op('Gather', [await this.weights([vocabulary, hidden], 1), 'input_ids']);
    const counted = this.op('CumSum', ['attention_mask', this.int64([], [1n])]);
    const places = this.op('Add', [this.op('Mul', [counted, 'attention_mask']), this.int64([], [1n])]);
    const position = this.op('Gather', [await this.weights([positions, hidden], 0.2), places]);
    return await this.norm(this.op('Add', [words, position]), hidden);
  }

  private async attention(
    hidden: string,
    bias: string,
    { hidden: dims, heads }: EncoderSize,
  ): Promise<string> {
    const split = this.int64([4], [0n, 0n, BigInt(heads), BigInt(dims / heads)]);
    const head = async (permutation: bigint[]) =>
      this.op('Transpose', [this.op('Reshape', [await this.linear(hidden, dims, dims), split])], {
        perm: permutation,
      });
    const query = await head([0n, 2n, 1n, 3n]);
    const key = await head([0n, 2n, 3n, 1n]);
    const value = await head([0n, 2n, 1n, 3n]);
    const scores = this.op('Div', [this.op('MatMul', [query, key]), this.float(Math.sqrt(dims / heads))]);
    const shares = this.op('Softmax', [this.op('Add', [scores, bias])], { axis: -1n });
    const mixed = this.op('Transpose', [this.op('MatMul', [shares, value])], { perm: [0n, 2n, 1n, 3n] });
    const joined = this.op('Reshape', [mixed, this.int64([3], [0n, 0n, BigInt(dims)])]);
    return await this.linear(joined, dims, dims);
  }

  /** x/2 · (1 + erf(x/√2)), as exporters write it. */
  private gelu(value: string): string {
    const error = this.op('Erf', [this.op('Div', [value, this.float(Math.SQRT2)])]);
    const product = this.op('Mul', [value, this.op('Add', [error, this.float(1)])]);
    return this.op('Mul', [product, this.float(0.5)]);
  }

  private async linear(value: string, inDims: number, outDims: number, largeRows = 0): Promise<string> {
    const product = this.op('MatMul', [
      value,
      await this.weights([inDims, outDims], 1.7 / Math.sqrt(inDims), largeRows),
    ]);
    return this.op('Add', [await this.weights([outDims], 0.1), product]);
  }

  private async norm(value: string, dims: number): Promise<string> {
    const gain = this.name();
    this.initializers.push(floatTensor(gain, [dims], new Float32Array(dims).fill(1)));
    return this.op('LayerNormalization', [value, gain, await this.weights([dims], 0.05)], {
      axis: -1n,
      epsilon: 1e-5,
    });
  }

  /** Uniform in ±spread, and more in the first `largeRows`; written row by row. */
  private async weights(dims: number[], spread: number, largeRows = 0): Promise<string> {
    const tensor = makeTensor(this.name(), DataType.FLOAT, dims, new Float32Array());
    const total = dims.reduce((product, size) => product * size, 1);
    const step = 4 * 1024 ** 2;
    const large = (largeRows * total) / dims[0]!;
    const value = (at: number) => random() * spread * (at < large ? LARGE : 1);
    await this.writer.write(
      tensor,
      (function* () {
        for (let start = 0; start < total; start += step)
          yield Float32Array.from({ length: Math.min(step, total - start) }, (_, i) => value(start + i));
      })(),
    );
    this.initializers.push(tensor);
    return tensor.name;
  }

  private op(opType: string, inputs: string[], attributes: Parameters<typeof makeNode>[3] = {}): string {
    const output = this.name();
    this.nodes.push(makeNode(opType, inputs, [output], attributes));
    return output;
  }

  private float(value: number): string {
    const name = this.name();
    this.initializers.push(floatTensor(name, [], Float32Array.of(value)));
    return name;
  }

  private int64(dims: number[], values: bigint[]): string {
    const name = this.name();
    this.initializers.push(int64Tensor(name, dims, values));
    return name;
  }

  private name(): string {
    return `v${this.count++}`;
  }
}
