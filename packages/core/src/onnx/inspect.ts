/** What an ONNX file is, found out before a session is made: names, shapes, operators, data files. */
import { readFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { TrivecError } from '../errors.ts';
import { type ExternalPlace, externalPlaceOf, openExternalFile } from './externalData.ts';
import {
  DataType,
  decodeModel,
  type GraphProto,
  type Model,
  type TensorProto,
  type ValueInfoProto,
} from './proto.ts';

export interface GraphValue {
  name: string;
  /** Lower-case ONNX name: `float`, `float16`, `int64`, …; `unknown` when the file does not say. */
  dtype: string;
  /** A number, a dimension's name, or null where the file says nothing; undefined without a shape. */
  shape: (number | string | null)[] | undefined;
}

export interface GraphInspection {
  irVersion: number;
  /** Operator set versions by domain; the standard one under ''. */
  opsets: Readonly<Record<string, number>>;
  /** What a caller must feed: initializers left out. */
  inputs: GraphValue[];
  outputs: GraphValue[];
  /** Nodes by operator, e.g. `{MatMul: 96, 'com.microsoft.Attention': 12}`, subgraphs included. */
  operators: Readonly<Record<string, number>>;
  /** Size of the table that `input_ids` looks up, where there is one: a tokenizer must not have more ids. */
  vocabulary: { rows: number; dims: number } | undefined;
  /** Data files beside the graph, each read as far as `bytes`. */
  externalFiles: { location: string; bytes: number }[];
}

/** Inspects a graph from its bytes; looks at no other file. Throws `invalid_model`. */
export function inspectGraph(bytes: Uint8Array, name?: string): GraphInspection {
  return describe(decodeModel(bytes, name));
}

/**
 * Inspects a file and checks that its data files are there, long enough and in the allowed place.
 * Throws `invalid_model` naming what is wrong.
 */
export async function inspectModelFile(path: string): Promise<GraphInspection> {
  const model = decodeModel(await readModelFile(path), basename(path));
  const inspection = describe(model);
  for (const { location, bytes } of inspection.externalFiles) {
    const file = await openExternalFile(dirname(path), location);
    try {
      const { size } = await file.stat();
      if (size < bytes)
        throw new TrivecError(
          'invalid_model',
          `The model's data file ${location} is truncated: ${bytes} bytes expected, ${size} found.`,
        );
    } finally {
      await file.close();
    }
  }
  return inspection;
}

/** The bytes of a graph file. Throws `invalid_model` when it cannot be read. */
export async function readModelFile(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new TrivecError('invalid_model', `The model file ${path} cannot be read.`, { cause });
  }
}

function describe(model: Model): GraphInspection {
  const { graph } = model;
  const initializers = new Set(graph.initializer.map(({ name }) => name));
  return {
    irVersion: Number(model.irVersion),
    opsets: Object.fromEntries(
      model.opsetImport.map(({ domain, version }) => [domain === 'ai.onnx' ? '' : domain, Number(version)]),
    ),
    inputs: graph.input.filter(({ name }) => !initializers.has(name)).map(toValue),
    outputs: graph.output.map(toValue),
    operators: countOperators(graph),
    vocabulary: findVocabulary(graph),
    externalFiles: externalFilesOf(graph),
  };
}

function toValue({ name, type }: ValueInfoProto): GraphValue {
  const tensor = type?.value.case === 'tensorType' ? type.value.value : undefined;
  const shape = tensor?.shape?.dim.map(({ value }) =>
    value.case === 'dimValue' ? Number(value.value) : value.case === 'dimParam' ? value.value : null,
  );
  return { name, dtype: dtypeName(tensor?.elemType ?? 0), shape };
}

export function dtypeName(dataType: number): string {
  return dataType === 0 ? 'unknown' : (DataType[dataType]?.toLowerCase() ?? 'unknown');
}

function countOperators(graph: GraphProto): Record<string, number> {
  const counts: Record<string, number> = {};
  visitNodes(graph, ({ domain, opType }) => {
    const name = domain === '' || domain === 'ai.onnx' ? opType : `${domain}.${opType}`;
    counts[name] = (counts[name] ?? 0) + 1;
  });
  return counts;
}

function visitNodes(graph: GraphProto, visit: (node: GraphProto['node'][number]) => void): void {
  for (const node of graph.node) {
    visit(node);
    for (const { g, graphs } of node.attribute)
      for (const sub of g ? [g, ...graphs] : graphs) visitNodes(sub, visit);
  }
}

function findVocabulary(graph: GraphProto): GraphInspection['vocabulary'] {
  const tables = new Map(graph.initializer.map((tensor) => [tensor.name, tensor]));
  for (const { opType, input } of graph.node) {
    const table = opType === 'Gather' && input[1] === 'input_ids' ? tables.get(input[0] ?? '') : undefined;
    if (table?.dims.length === 2) return { rows: Number(table.dims[0]), dims: Number(table.dims[1]) };
  }
  return undefined;
}

function externalFilesOf(graph: GraphProto): GraphInspection['externalFiles'] {
  const ends = new Map<string, number>();
  for (const { location, offset, bytes } of tensorsOf(graph).map(externalPlaceOf).filter(isPlace))
    ends.set(location, Math.max(ends.get(location) ?? 0, offset + bytes));
  return [...ends].map(([location, bytes]) => ({ location, bytes }));
}

function isPlace(place: ExternalPlace | undefined): place is ExternalPlace {
  return place !== undefined;
}

/** Every tensor a graph holds: initializers and attributes, subgraphs included. */
export function tensorsOf(graph: GraphProto): TensorProto[] {
  const tensors = [...graph.initializer];
  visitNodes(graph, ({ attribute }) => {
    for (const { t, tensors: list, g, graphs } of attribute) {
      if (t !== undefined) tensors.push(t);
      tensors.push(...list);
      for (const sub of g ? [g, ...graphs] : graphs) tensors.push(...sub.initializer);
    }
  });
  return tensors;
}
