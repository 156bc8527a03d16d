/** Turns a generating model into a reranker: one number a text, from what it would say next. */
import { TrivecError } from '../errors.ts';
import {
  claimName,
  DataType,
  decodeModel,
  encodeFragment,
  int64Tensor,
  makeNode,
  makeValueInfo,
  usedNames,
} from './proto.ts';

export interface YesNo {
  /** The output with logits over the vocabulary, float [B, L, V]. */
  logits: string;
  /** Token ids of the two answers. */
  yes: number;
  no: number;
}

/**
 * Appends `logits[:, −1, yes] − logits[:, −1, no]` [B, 1]; its sigmoid is the softmax over the two. Texts must be padded
 * on the left, so that the last position is a token of each. Throws `invalid_model` where the output is not there.
 */
export function addYesNo(
  modelBytes: Uint8Array,
  { logits, yes, no }: YesNo,
): { bytes: Uint8Array; output: string } {
  const model = decodeModel(modelBytes);
  const found = model.graph.output.find(({ name }) => name === logits);
  if (found === undefined)
    throw new TrivecError('invalid_model', `The model has no output ${logits} to judge by.`);
  const names = usedNames(model.graph);
  const name = (label: string): string => claimName(names, `trivec_${label}`);
  const [last, ids] = [name('last'), name('answers')];
  const [next, both, wide, parts] = [name('next'), name('yes_no'), name('yes_no_float'), name('signs')];
  const output = claimName(names, 'yes_no_logit');
  const isFloat =
    found.type?.value.case === 'tensorType' && found.type.value.value.elemType === DataType.FLOAT;
  const [yesPart, noPart] = [name('yes'), name('no')];
  const fragment = encodeFragment({
    initializer: [
      int64Tensor(last, [], [-1n]),
      int64Tensor(ids, [2], [BigInt(yes), BigInt(no)]),
      int64Tensor(parts, [1], [0n]),
      int64Tensor(`${parts}_1`, [1], [1n]),
    ],
    node: [
      makeNode('Gather', [logits, last], [next], { axis: 1n }),
      makeNode('Gather', [next, ids], [both], { axis: 1n }),
      ...(isFloat
        ? [makeNode('Identity', [both], [wide])]
        : [makeNode('Cast', [both], [wide], { to: BigInt(DataType.FLOAT) })]),
      makeNode('Gather', [wide, parts], [yesPart], { axis: 1n }),
      makeNode('Gather', [wide, `${parts}_1`], [noPart], { axis: 1n }),
      makeNode('Sub', [yesPart, noPart], [output]),
    ],
    output: [makeValueInfo(output, DataType.FLOAT, ['batch_size', 1])],
  });
  const bytes = new Uint8Array(modelBytes.length + fragment.length);
  bytes.set(modelBytes);
  bytes.set(fragment, modelBytes.length);
  return { bytes, output };
}
