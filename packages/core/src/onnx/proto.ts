/**
 * ONNX files as data: decoding, encoding, and short ways to write nodes and tensors. Everything that
 * reads or changes a graph goes through here. Decoded tensors are views into the bytes given, not copies.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { TrivecError } from '../errors.ts';
import { lfsPointerNote } from './lfsPointer.ts';
import {
  type AttributeProto,
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  type GraphProto,
  GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProto_DataType,
  TensorProtoSchema,
  type TensorShapeProto_Dimension,
  TensorShapeProto_DimensionSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from './proto/onnx_pb.js';

export { TensorProto_DataType as DataType } from './proto/onnx_pb.js';
export type { AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto };

/** A model whose graph is there. */
export type Model = ModelProto & { graph: GraphProto };

/** Domains of the operators met in encoder graphs; `ai.onnx` is another spelling of the empty one. */
export const MICROSOFT_DOMAIN = 'com.microsoft';

/**
 * Decodes a graph file. `bytes` must stay unchanged while the model is used.
 * Throws `invalid_model` for what is not a whole ONNX model.
 */
export function decodeModel(bytes: Uint8Array, name = 'the model'): Model {
  const pointer = lfsPointerNote(bytes);
  if (pointer !== undefined) throw new TrivecError('invalid_model', `${name} ${pointer}.`);
  let model: ModelProto;
  try {
    // A plain Uint8Array: views into a Buffer would be Buffers, whose slice() shares memory.
    model = fromBinary(ModelProtoSchema, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch (cause) {
    throw new TrivecError(
      'invalid_model',
      `${name} is not a readable ONNX file: it is truncated or foreign.`,
      {
        cause,
      },
    );
  }
  if (model.graph === undefined || model.graph.node.length === 0 || model.graph.output.length === 0)
    throw new TrivecError('invalid_model', `${name} holds no ONNX graph: it is truncated or foreign.`);
  if (opsetOf(model) === 0)
    throw new TrivecError('invalid_model', `${name} names no ONNX operator set: it is truncated or foreign.`);
  return model as Model;
}

export function encodeModel(model: ModelProto): Uint8Array {
  return toBinary(ModelProtoSchema, model);
}

/** Version of the standard operator set the model was written for; 0 when it names none. */
export function opsetOf(model: ModelProto): number {
  const standard = model.opsetImport.find(({ domain }) => domain === '' || domain === 'ai.onnx');
  return Number(standard?.version ?? 0n);
}

/** A model that holds nothing but graph parts; appended to a model's bytes it merges into its graph. */
export function encodeFragment(parts: {
  node: NodeProto[];
  initializer: TensorProto[];
  output: ValueInfoProto[];
}): Uint8Array {
  return toBinary(ModelProtoSchema, create(ModelProtoSchema, { graph: create(GraphProtoSchema, parts) }));
}

type AttributeValue = number | bigint | string | readonly bigint[];

/** A number is a FLOAT attribute, a bigint an INT, a list of bigints INTS, a string a STRING. */
function attribute(name: string, value: AttributeValue): AttributeProto {
  if (typeof value === 'number')
    return create(AttributeProtoSchema, { name, type: AttributeType.FLOAT, f: value });
  if (typeof value === 'bigint')
    return create(AttributeProtoSchema, { name, type: AttributeType.INT, i: value });
  if (typeof value === 'string')
    return create(AttributeProtoSchema, {
      name,
      type: AttributeType.STRING,
      s: new TextEncoder().encode(value),
    });
  return create(AttributeProtoSchema, { name, type: AttributeType.INTS, ints: [...value] });
}

/** A node named after its first output. */
export function makeNode(
  opType: string,
  input: string[],
  output: string[],
  attributes: Readonly<Record<string, AttributeValue>> = {},
  domain = '',
): NodeProto {
  return create(NodeProtoSchema, {
    opType,
    input,
    output,
    domain,
    name: output[0] ?? opType,
    attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
  });
}

/** The integer attribute, or the operator's default. */
export function intAttribute(node: NodeProto, name: string, otherwise: number): number {
  const found = node.attribute.find((candidate) => candidate.name === name);
  return found === undefined ? otherwise : Number(found.i);
}

export function floatAttribute(node: NodeProto, name: string, otherwise: number): number {
  return node.attribute.find((candidate) => candidate.name === name)?.f ?? otherwise;
}

export function makeTensor(
  name: string,
  dataType: TensorProto_DataType,
  dims: readonly number[],
  values: ArrayBufferView,
): TensorProto {
  const rawData = new Uint8Array(values.buffer as ArrayBuffer, values.byteOffset, values.byteLength);
  return create(TensorProtoSchema, { name, dataType, dims: dims.map(BigInt), rawData });
}

export function floatTensor(name: string, dims: readonly number[], values: Float32Array): TensorProto {
  return makeTensor(name, TensorProto_DataType.FLOAT, dims, values);
}

export function int64Tensor(name: string, dims: readonly number[], values: readonly bigint[]): TensorProto {
  return makeTensor(name, TensorProto_DataType.INT64, dims, BigInt64Array.from(values));
}

/** A dimension is a number, or a name for a size known only when the model runs. */
export function makeValueInfo(
  name: string,
  elemType: TensorProto_DataType,
  shape: readonly (number | string)[],
): ValueInfoProto {
  return create(ValueInfoProtoSchema, {
    name,
    type: {
      value: {
        case: 'tensorType',
        value: {
          elemType,
          shape: {
            dim: shape.map(makeDimension),
          },
        },
      },
    },
  });
}

function makeDimension(size: number | string): TensorShapeProto_Dimension {
  return create(TensorShapeProto_DimensionSchema, {
    value:
      typeof size === 'number'
        ? { case: 'dimValue', value: BigInt(size) }
        : { case: 'dimParam', value: size },
  });
}

/** Every name a graph already uses, subgraphs included: what new parts must avoid. */
export function usedNames(graph: GraphProto): Set<string> {
  const names = new Set<string>();
  const visit = (part: GraphProto): void => {
    for (const { name } of [...part.input, ...part.output, ...part.initializer]) names.add(name);
    for (const node of part.node) {
      names.add(node.name);
      for (const value of [...node.input, ...node.output]) names.add(value);
      for (const { g, graphs } of node.attribute) for (const sub of g ? [g, ...graphs] : graphs) visit(sub);
    }
  };
  visit(graph);
  return names;
}

/** A name not in use, which from now on is. */
export function claimName(names: Set<string>, wanted: string): string {
  let name = wanted;
  for (let suffix = 1; names.has(name); suffix++) name = `${wanted}_${suffix}`;
  names.add(name);
  return name;
}
