/** Turns a generating model into a reranker: two logits a token of all its vocabulary, one number of the two. */
import { TrivecError } from '../errors.ts';
import {
  claimName,
  DataType,
  decodeModel,
  encodeModel,
  type GraphProto,
  int64Tensor,
  makeNode,
  makeValueInfo,
  type NodeProto,
  usedNames,
} from './proto.ts';

export interface YesNo {
  /** The output with logits over the vocabulary, float [B, L, V]. */
  logits: string;
  /** Token ids of the two answers. */
  yes: number;
  no: number;
}

/** Between the product and the logits: what works on each number alone, or scales columns (dynamic int8). */
const PASSED = new Set(['Cast', 'Identity', 'Mul', 'Add']);
const PRODUCTS = new Set(['MatMul', 'MatMulInteger']);

/**
 * The model with the one output `logit(yes) − logit(no)` [B, L, 1], whose sigmoid at the last token is the softmax over
 * the two. The vocabulary's product is cut to the two columns, where it is a MatMul or a dynamic int8 one: 150,000
 * columns would take gigabytes. Other outputs (a decoder's present keys and values) go. Data files stay where they are.
 * Throws `invalid_model` where the output is not there.
 */
export function addYesNo(
  modelBytes: Uint8Array,
  { logits, yes, no }: YesNo,
): { bytes: Uint8Array; output: string; isCut: boolean } {
  const model = decodeModel(modelBytes);
  const { graph } = model;
  const found = graph.output.find(({ name }) => name === logits);
  if (found === undefined)
    throw new TrivecError('invalid_model', `The model has no output ${logits} to judge by.`);
  const dataType = found.type?.value.case === 'tensorType' ? found.type.value.value.elemType : DataType.FLOAT;
  const names = usedNames(graph);
  const name = (label: string): string => claimName(names, `trivec_${label}`);
  const cut = new ColumnCut(graph, name, [yes, no]);
  const isCut = cut.apply(logits);
  const ids = isCut ? [0n, 1n] : [BigInt(yes), BigInt(no)];
  const [yesId, noId, yesPart, noPart, wide] = [
    name('yes_id'),
    name('no_id'),
    name('yes'),
    name('no'),
    name('both'),
  ];
  const output = claimName(names, 'yes_no_logit');
  graph.initializer.push(int64Tensor(yesId, [1], [ids[0]!]), int64Tensor(noId, [1], [ids[1]!]));
  graph.node.push(
    makeNode('Gather', [logits, yesId], [yesPart], { axis: 2n }),
    makeNode('Gather', [logits, noId], [noPart], { axis: 2n }),
    makeNode('Sub', [yesPart, noPart], [wide]),
    dataType === DataType.FLOAT
      ? makeNode('Identity', [wide], [output])
      : makeNode('Cast', [wide], [output], { to: BigInt(DataType.FLOAT) }),
  );
  graph.output = [makeValueInfo(output, DataType.FLOAT, ['batch_size', 'sequence_length', 1])];
  return { bytes: encodeModel(model), output, isCut };
}

/** Takes two columns of the product that makes the logits, and of everything that is as wide as it. */
class ColumnCut {
  readonly #graph: GraphProto;
  readonly #name: (label: string) => string;
  readonly #columns: readonly number[];
  readonly #makers: ReadonlyMap<string, NodeProto>;
  readonly #uses: ReadonlyMap<string, number>;

  constructor(graph: GraphProto, name: (label: string) => string, columns: readonly number[]) {
    this.#graph = graph;
    this.#name = name;
    this.#columns = columns;
    this.#makers = new Map(graph.node.flatMap((node) => node.output.map((value) => [value, node])));
    const uses = new Map<string, number>();
    for (const value of graph.node.flatMap(({ input }) => input)) uses.set(value, (uses.get(value) ?? 0) + 1);
    this.#uses = uses;
  }

  /** False, and nothing is changed, where the logits are made in a way that is not known. */
  apply(logits: string): boolean {
    const chain = this.#chainTo(logits);
    if (chain === undefined) return false;
    const [product] = chain;
    const weight = product!.input[1]!;
    const width = this.#widthOf(weight);
    if (width === undefined) return false;
    const ids = this.#name('answers');
    this.#graph.initializer.push(
      int64Tensor(
        ids,
        [2],
        this.#columns.map((column) => BigInt(column)),
      ),
    );
    for (const node of chain)
      node.input = node.input.map((value) => {
        const axis = this.#wideAxisOf(value, width);
        return axis === undefined ? value : this.#gather(value, ids, axis, node);
      });
    const made = new Set(chain.flatMap(({ output }) => output));
    this.#graph.valueInfo = this.#graph.valueInfo.filter(({ name }) => !made.has(name));
    return true;
  }

  /** The product first. Undefined where another part of the graph reads what lies between. */
  #chainTo(logits: string): NodeProto[] | undefined {
    const chain: NodeProto[] = [];
    for (let value: string | undefined = logits; value !== undefined; ) {
      const node = this.#makers.get(value);
      if (node === undefined || (this.#uses.get(value) ?? 0) > (value === logits ? 0 : 1)) return undefined;
      chain.unshift(node);
      if (PRODUCTS.has(node.opType) && node.domain === '') return chain;
      if (!PASSED.has(node.opType)) return undefined;
      value = node.input.find((input) => this.#leadsToProduct(input));
    }
    return undefined;
  }

  #leadsToProduct(value: string): boolean {
    for (let node = this.#makers.get(value); node !== undefined; ) {
      if (PRODUCTS.has(node.opType)) return true;
      if (!PASSED.has(node.opType)) return false;
      // Scales stand second.
      node = this.#makers.get(node.input[0] ?? '');
    }
    return false;
  }

  /** Columns of [in, out]: an initializer, or one that is transposed in the graph (tied to the embeddings). */
  #widthOf(weight: string): number | undefined {
    const maker = this.#makers.get(weight);
    if (maker === undefined) return this.#dimsOf(weight)?.[1];
    return maker.opType === 'Transpose' ? this.#dimsOf(maker.input[0] ?? '')?.[0] : undefined;
  }

  #wideAxisOf(value: string, width: number): number | undefined {
    if (this.#makers.get(value)?.opType === 'Transpose')
      return this.#widthOf(value) === width ? 1 : undefined;
    // The scale of each column, times that of the activations.
    const factors = this.#makers.get(value)?.opType === 'Mul' ? this.#makers.get(value)!.input : [value];
    return factors.some((factor) => (this.#dimsOf(factor)?.at(-1) ?? 0) === width) ? -1 : undefined;
  }

  #dimsOf(value: string): number[] | undefined {
    return this.#graph.initializer.find(({ name }) => name === value)?.dims.map(Number);
  }

  /** Of an initializer, transposed or not, the runtime does it once, when it loads the model. */
  #gather(value: string, ids: string, axis: number, before: NodeProto): string {
    const maker = this.#makers.get(value);
    const transpose = maker?.opType === 'Transpose' ? maker : undefined;
    const rows = this.#name('answer_columns');
    const nodes =
      transpose === undefined
        ? [makeNode('Gather', [value, ids], [rows], { axis: BigInt(axis) })]
        : [
            makeNode('Gather', [transpose.input[0]!, ids], [`${rows}_rows`], { axis: 0n }),
            makeNode('Transpose', [`${rows}_rows`], [rows], { perm: [1n, 0n] }),
          ];
    this.#graph.node.splice(this.#graph.node.indexOf(before), 0, ...nodes);
    return rows;
  }
}
