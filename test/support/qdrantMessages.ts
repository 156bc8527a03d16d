import { createFileRegistry, type DescMethodUnary, fromJson, type JsonObject } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';

/*
 * What tests use of Qdrant's points.proto, qdrant_common.proto, json_with_int.proto and collections.proto (1.18), field
 * by field: the double reads requests with these, and knows nothing of how trivec writes them.
 */

const field = (name: string, number: number, type: string, rest: JsonObject = {}): JsonObject => ({
  name,
  number,
  ...(type.startsWith('.')
    ? { type: 'TYPE_MESSAGE', typeName: type }
    : { type: `TYPE_${type.toUpperCase()}` }),
  label: 'LABEL_OPTIONAL',
  ...rest,
});
const REPEATED = { label: 'LABEL_REPEATED' };
const CHOICE = { oneofIndex: 0 };

/** A message with a field `name` that is a map from strings to `value`. */
function mapField(owner: string, name: string, number: number, value: string) {
  const entry = `${name[0]!.toUpperCase()}${name.slice(1)}Entry`;
  return {
    field: field(name, number, `.qdrant.${owner}.${entry}`, REPEATED),
    type: {
      name: entry,
      field: [field('key', 1, 'string'), field('value', 2, value)],
      options: { mapEntry: true },
    },
  };
}

const NAMED = mapField('NamedVectors', 'vectors', 1, '.qdrant.Vector');
const PAYLOAD = mapField('PointStruct', 'payload', 3, '.qdrant.Value');
const FIELDS = mapField('Struct', 'fields', 1, '.qdrant.Value');

const REGISTRY = createFileRegistry(
  fromJson(FileDescriptorProtoSchema, {
    name: 'qdrant.proto',
    package: 'qdrant',
    syntax: 'proto3',
    messageType: [
      {
        name: 'UpsertPoints',
        field: [
          field('collection_name', 1, 'string'),
          field('wait', 2, 'bool'),
          field('points', 3, '.qdrant.PointStruct', REPEATED),
        ],
      },
      {
        name: 'PointStruct',
        field: [field('id', 1, '.qdrant.PointId'), PAYLOAD.field, field('vectors', 4, '.qdrant.Vectors')],
        nestedType: [PAYLOAD.type],
      },
      {
        name: 'PointId',
        field: [field('num', 1, 'uint64', CHOICE), field('uuid', 2, 'string', CHOICE)],
        oneofDecl: [{ name: 'choice' }],
      },
      {
        name: 'Vectors',
        field: [
          field('vector', 1, '.qdrant.Vector', CHOICE),
          field('vectors', 2, '.qdrant.NamedVectors', CHOICE),
        ],
        oneofDecl: [{ name: 'choice' }],
      },
      { name: 'NamedVectors', field: [NAMED.field], nestedType: [NAMED.type] },
      {
        name: 'Vector',
        field: [
          field('dense', 101, '.qdrant.DenseVector', CHOICE),
          field('sparse', 102, '.qdrant.SparseVector', CHOICE),
          field('multi_dense', 103, '.qdrant.MultiDenseVector', CHOICE),
        ],
        oneofDecl: [{ name: 'choice' }],
      },
      { name: 'DenseVector', field: [field('data', 1, 'float', REPEATED)] },
      {
        name: 'SparseVector',
        field: [field('values', 1, 'float', REPEATED), field('indices', 2, 'uint32', REPEATED)],
      },
      { name: 'MultiDenseVector', field: [field('vectors', 1, '.qdrant.DenseVector', REPEATED)] },
      {
        name: 'Value',
        field: [
          field('null_value', 1, 'uint32', CHOICE),
          field('double_value', 2, 'double', CHOICE),
          field('integer_value', 3, 'int64', CHOICE),
          field('string_value', 4, 'string', CHOICE),
          field('bool_value', 5, 'bool', CHOICE),
          field('struct_value', 6, '.qdrant.Struct', CHOICE),
          field('list_value', 7, '.qdrant.ListValue', CHOICE),
        ],
        oneofDecl: [{ name: 'choice' }],
      },
      { name: 'Struct', field: [FIELDS.field], nestedType: [FIELDS.type] },
      { name: 'ListValue', field: [field('values', 1, '.qdrant.Value', REPEATED)] },
      { name: 'PointsOperationResponse', field: [field('result', 1, '.qdrant.UpdateResult')] },
      { name: 'UpdateResult', field: [field('operation_id', 1, 'uint64'), field('status', 2, 'uint32')] },
      { name: 'CollectionExistsRequest', field: [field('collection_name', 1, 'string')] },
      { name: 'CollectionExistsResponse', field: [field('result', 1, '.qdrant.CollectionExists')] },
      { name: 'CollectionExists', field: [field('exists', 1, 'bool')] },
    ],
    service: [
      {
        name: 'Points',
        method: [
          {
            name: 'Upsert',
            inputType: '.qdrant.UpsertPoints',
            outputType: '.qdrant.PointsOperationResponse',
          },
        ],
      },
      {
        name: 'Collections',
        method: [
          {
            name: 'CollectionExists',
            inputType: '.qdrant.CollectionExistsRequest',
            outputType: '.qdrant.CollectionExistsResponse',
          },
        ],
      },
    ],
  }),
  () => undefined,
);

const method = (service: string) => REGISTRY.getService(`qdrant.${service}`)!.methods[0] as DescMethodUnary;

export const UPSERT = method('Points');
export const COLLECTION_EXISTS = method('Collections');
export const POINT_STRUCT = REGISTRY.getMessage('qdrant.PointStruct')!;

type OneOf<Cases> = { [Case in keyof Cases]: { case: Case; value: Cases[Case] } }[keyof Cases];
type Numbers = { data: number[] };

export interface ValueMessage {
  choice: OneOf<{
    nullValue: number;
    doubleValue: number;
    integerValue: bigint;
    stringValue: string;
    boolValue: boolean;
    structValue: { fields: Record<string, ValueMessage> };
    listValue: { values: ValueMessage[] };
  }>;
}

export interface VectorMessage {
  choice: OneOf<{
    dense: Numbers;
    sparse: { values: number[]; indices: number[] };
    multiDense: { vectors: Numbers[] };
  }>;
}

export interface PointMessage {
  id?: { choice: OneOf<{ num: bigint; uuid: string }> };
  payload: Record<string, ValueMessage>;
  vectors?: {
    choice:
      | { case: 'vectors'; value: { vectors: Record<string, VectorMessage> } }
      | { case: 'vector'; value: VectorMessage };
  };
}

const mapValues = <From, To>(record: Record<string, From>, map: (value: From) => To) =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));

/** A payload's value as JSON has it. */
function plainValue({ choice }: ValueMessage): unknown {
  switch (choice.case) {
    case 'nullValue':
      return null;
    case 'integerValue':
      return Number(choice.value);
    case 'structValue':
      return mapValues(choice.value.fields, plainValue);
    case 'listValue':
      return choice.value.values.map(plainValue);
    default:
      return choice.value;
  }
}

function vectorOf({ choice }: VectorMessage): unknown {
  switch (choice.case) {
    case 'dense':
      return choice.value.data;
    case 'sparse':
      return { indices: choice.value.indices, values: choice.value.values };
    case 'multiDense':
      return choice.value.vectors.map(({ data }) => data);
  }
}

/** A point as the body of a REST upsert has it; what is missing stays out. */
export function pointOf({ id, payload, vectors }: PointMessage): Record<string, unknown> {
  return {
    ...(id && { id: id.choice.case === 'num' ? Number(id.choice.value) : id.choice.value }),
    ...(vectors?.choice.case === 'vectors' && { vector: mapValues(vectors.choice.value.vectors, vectorOf) }),
    payload: mapValues(payload, plainValue),
  };
}
