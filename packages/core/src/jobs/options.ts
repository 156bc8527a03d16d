import { TrivecError } from '../errors.ts';
import type { Output } from '../vectors/types.ts';
import type { JobOptions } from './records.ts';
import type { JobModel, RequestedOptions } from './serviceTypes.ts';

/** The options with their defaults. Throws `unknown_output`, `invalid_request`. */
export function resolveOptions(requested: RequestedOptions, model: JobModel): JobOptions {
  const outputs = resolveOutputs(requested.outputs, model);
  const { dimensions, metadata } = requested;
  if (dimensions !== undefined) checkDimensions(dimensions, outputs, model);
  return {
    outputs,
    normalize: requested.normalize ?? true,
    truncate: requested.truncate ?? true,
    ...(dimensions !== undefined && { dimensions }),
    ...(metadata !== undefined && { metadata }),
  };
}

function resolveOutputs(requested: readonly string[] | undefined, model: JobModel): Output[] {
  if (requested === undefined) {
    const small = model.outputs.filter((output) => output !== 'colbert');
    return small.length > 0 ? small : [...model.outputs];
  }
  if (requested.length === 0)
    throw new TrivecError('invalid_request', 'outputs must name at least one output.', { param: 'outputs' });
  for (const output of requested)
    if (!model.outputs.some((known) => known === output))
      throw new TrivecError(
        'unknown_output',
        `${model.name} has no output ${JSON.stringify(output.slice(0, 64))}; it has ${model.outputs.join(', ')}.`,
        { param: 'outputs' },
      );
  return model.outputs.filter((output) => requested.includes(output));
}

function checkDimensions(dimensions: number, outputs: readonly Output[], model: JobModel): void {
  if (!outputs.includes('dense'))
    throw new TrivecError('invalid_request', 'dimensions is for the dense output, which was not asked for.', {
      param: 'dimensions',
    });
  if (!Number.isInteger(dimensions) || dimensions < 1 || dimensions > model.denseDims)
    throw new TrivecError(
      'invalid_request',
      `dimensions must be an integer from 1 to ${model.denseDims}, the size of ${model.name}'s dense vector.`,
      { param: 'dimensions' },
    );
}
