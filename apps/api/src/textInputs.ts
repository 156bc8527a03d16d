import { TrivecError } from '@trivec/core/errors';
import type { TextInput } from './embedder.ts';

export type Inputs = string | (string | number | number[])[];

/**
 * What a client means by an `input`: a text, a row of token ids (all numbers), or several of either.
 * `empty_input` for none, `invalid_request` for more than `maxInputs`, or a number among texts.
 */
export function textInputs(inputs: Inputs, maxInputs: number, field = 'input'): readonly TextInput[] {
  if (typeof inputs === 'string') return [inputs];
  if (inputs.length === 0)
    throw new TrivecError('empty_input', `${field} must have at least one text.`, { param: field });
  if (inputs.every((item) => typeof item === 'number')) return [inputs];
  if (inputs.length > maxInputs) {
    throw new TrivecError(
      'invalid_request',
      `${field} has ${inputs.length} items; at most ${maxInputs} are allowed.`,
      { param: field },
    );
  }
  return inputs.map((item, index) => {
    if (typeof item !== 'number') return item;
    const param = `${field}[${index}]`;
    throw new TrivecError(
      'invalid_request',
      `${param} must be a string or an array of token ids, got a number.`,
      { param },
    );
  });
}
