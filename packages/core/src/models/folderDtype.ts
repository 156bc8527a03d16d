/** Which precision the files of a folder are in. Pure. */
import { basename } from 'node:path';
import { TrivecError } from '../errors.ts';
import type { GraphInspection } from '../onnx/inspect.ts';
import type { GraphChoice } from './graphFile.ts';

/** Their presence means that activations are rounded, too. */
const INTEGER_OPERATORS = [
  'MatMulInteger',
  'DynamicQuantizeLinear',
  'com.microsoft.DynamicQuantizeMatMul',
  'com.microsoft.MatMulIntegerToFloat',
];

/** A rewritten folder has one graph, in one precision, whatever the names of its files say. */
export function choiceOfRewritten(folder: string, made: string, { dtype, file }: GraphChoice): GraphChoice {
  if (dtype === undefined || dtype === made) return { file };
  throw new TrivecError(
    'invalid_config',
    `MODEL_DTYPE: ${folder} holds a model that was rewritten as ${made}, not ${dtype}.`,
    { param: 'MODEL_DTYPE' },
  );
}

/** Published files say it in their names; inside, integer products mean dynamic int8. */
export function guessDtype(graphFile: string, { operators, outputs }: GraphInspection): string {
  const name = basename(graphFile);
  if (INTEGER_OPERATORS.some((operator) => operator in operators)) return 'int8-dynamic';
  // Only its weights are int8: a batch does not matter to it.
  if (/int8|quantized/.test(name)) return 'int8-weights';
  if (/fp16/.test(name) || outputs.some(({ dtype }) => dtype === 'float16')) return 'fp16';
  return 'fp32';
}
