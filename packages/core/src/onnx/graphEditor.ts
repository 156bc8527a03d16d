/** Changes to a decoded graph: nodes replaced in place, constants added, what nobody reads any more removed. */
import { create } from '@bufbuild/protobuf';
import { OperatorSetIdProtoSchema, TensorProtoSchema } from './proto/onnx_pb.js';
import {
  claimName,
  DataType,
  type GraphProto,
  int64Tensor,
  MICROSOFT_DOMAIN,
  type Model,
  makeNode,
  makeTensor,
  type NodeProto,
  type TensorProto,
  usedNames,
} from './proto.ts';

export class GraphEditor {
  private readonly model: Model;
  private readonly names: Set<string>;
  private readonly replacements = new Map<NodeProto, NodeProto[]>();
  private readonly constants = new Map<string, string>();
  private readonly first: NodeProto[] = [];
  private nodes: NodeProto[] = [];

  constructor(model: Model) {
    this.model = model;
    this.names = usedNames(model.graph);
  }

  /** Nodes made by `emit` stand where `node` stood. One of them must produce each of its outputs that is read. */
  replace(node: NodeProto, emit: () => void): void {
    this.nodes = [];
    emit();
    this.replacements.set(node, this.nodes);
  }

  /** Nodes made by `emit` come first in the graph, and one of them produces what the initializer was. */
  replaceInitializer(tensor: TensorProto, emit: () => void): void {
    const { graph } = this.model;
    this.nodes = [];
    emit();
    this.first.push(...this.nodes);
    graph.initializer = graph.initializer.filter((candidate) => candidate !== tensor);
    graph.input = graph.input.filter(({ name }) => name !== tensor.name);
  }

  /** Adds a node; returns its output, which is `output` or a new name made from `label`. */
  op(
    opType: string,
    inputs: string[],
    label: string,
    options: { attributes?: Parameters<typeof makeNode>[3]; domain?: string; output?: string } = {},
  ): string {
    const output = options.output ?? this.name(label);
    this.nodes.push(makeNode(opType, inputs, [output], options.attributes, options.domain));
    return output;
  }

  name(label: string): string {
    return claimName(this.names, `trivec_${label}`);
  }

  /** A small constant, one for the whole graph however often it is asked for. */
  constant(label: string, dataType: DataType, dims: number[], values: ArrayBufferView): string {
    return this.shared(label, (name) => makeTensor(name, dataType, dims, values));
  }

  float(value: number): string {
    return this.constant(`float_${value}`, DataType.FLOAT, [], Float32Array.of(value));
  }

  axis(value: number): string {
    return this.shared(`axis_${value}`, (name) => int64Tensor(name, [1], [BigInt(value)]));
  }

  /** A tensor without data yet; the caller writes them somewhere. */
  tensor(label: string, dataType: DataType, dims: readonly number[]): TensorProto {
    const tensor = create(TensorProtoSchema, { name: this.name(label), dataType, dims: dims.map(BigInt) });
    this.model.graph.initializer.push(tensor);
    return tensor;
  }

  /** Puts the replacements in, removes what they orphaned, and declares the operators they use. */
  apply(): void {
    const { graph } = this.model;
    const isNew = new Set([...this.replacements.values()].flat());
    graph.node = [...this.first, ...graph.node.flatMap((node) => this.replacements.get(node) ?? [node])];
    if ([...isNew].some(({ domain }) => domain === MICROSOFT_DOMAIN)) this.declareMicrosoftOperators();
    removeOrphans(graph);
    // From version 4 on an initializer need not be an input as well, and ours are not.
    if (this.model.irVersion < 4n) this.model.irVersion = 4n;
  }

  private shared(label: string, make: (name: string) => TensorProto): string {
    const known = this.constants.get(label);
    if (known !== undefined) return known;
    const name = this.name(label);
    this.model.graph.initializer.push(make(name));
    this.constants.set(label, name);
    return name;
  }

  private declareMicrosoftOperators(): void {
    if (this.model.opsetImport.some(({ domain }) => domain === MICROSOFT_DOMAIN)) return;
    this.model.opsetImport.push(create(OperatorSetIdProtoSchema, { domain: MICROSOFT_DOMAIN, version: 1n }));
  }
}

/** Removes copies, transpositions and constants that no node and no output reads, then unread initializers. */
function removeOrphans(graph: GraphProto): void {
  const removable = new Set(['Constant', 'Identity', 'Transpose']);
  for (;;) {
    const read = readValues(graph);
    const kept = graph.node.filter(
      ({ opType, output }) => !removable.has(opType) || output.some((value) => read.has(value)),
    );
    if (kept.length === graph.node.length) break;
    graph.node = kept;
  }
  const read = readValues(graph);
  const removed = new Set(graph.initializer.filter(({ name }) => !read.has(name)).map(({ name }) => name));
  graph.initializer = graph.initializer.filter(({ name }) => !removed.has(name));
  graph.input = graph.input.filter(({ name }) => !removed.has(name));
}

function readValues(graph: GraphProto): Set<string> {
  const read = new Set<string>(graph.output.map(({ name }) => name));
  const visit = (part: GraphProto): void => {
    for (const { name } of part.output) read.add(name);
    for (const node of part.node) {
      for (const value of node.input) read.add(value);
      for (const { g, graphs } of node.attribute) for (const sub of g ? [g, ...graphs] : graphs) visit(sub);
    }
  };
  visit(graph);
  return read;
}
