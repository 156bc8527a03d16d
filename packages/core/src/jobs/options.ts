import { TrivecError } from '../errors.ts';
import { promptForInput } from '../models/prompts.ts';
import { resolveDestination } from '../sinks/qdrant/destination.ts';
import type { Output } from '../vectors/types.ts';
import type { ChunkingOptions, JobOptions } from './records.ts';
import type { JobModel, RequestedOptions } from './serviceTypes.ts';

const MAX_METADATA_BYTES = 16 * 1024;
const MAX_PROMPT_CHARS = 2000;
const MIN_WEIGHT = 0.01;
const MAX_WEIGHT = 100;
/** Special tokens, and a word between them. */
const MIN_CHUNK_TOKENS = 4;

/** The options with their defaults. Throws `unknown_output`, `invalid_request`. */
export function resolveOptions(requested: RequestedOptions, model: JobModel): JobOptions {
  const outputs = resolveOutputs(requested.outputs, model);
  const { dimensions, metadata, weight, priority, inputType = 'document' } = requested;
  if (dimensions !== undefined) checkDimensions(dimensions, outputs, model);
  if (weight !== undefined) checkWeight(weight);
  if (metadata !== undefined) checkMetadata(metadata);
  const prompt = requested.prompt ?? promptForInput(model, inputType) ?? '';
  if (prompt.length > MAX_PROMPT_CHARS)
    throw new TrivecError('invalid_request', `prompt has more than ${MAX_PROMPT_CHARS} characters.`, {
      param: 'prompt',
    });
  return {
    outputs,
    normalize: requested.normalize ?? true,
    truncate: requested.truncate ?? true,
    ...(dimensions !== undefined && { dimensions }),
    ...(requested.chunking !== undefined && { chunking: resolveChunking(requested.chunking, model) }),
    ...(inputType !== 'document' && { inputType }),
    ...(prompt !== '' && { prompt }),
    ...(weight !== undefined && { weight }),
    ...(priority !== undefined && { priority }),
    ...(metadata !== undefined && { metadata }),
    ...(requested.retentionMs !== undefined && { retentionMs: requested.retentionMs }),
    ...(requested.destination !== undefined && { destination: resolveDestination(requested.destination) }),
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

function checkWeight(weight: number): void {
  if (weight >= MIN_WEIGHT && weight <= MAX_WEIGHT) return;
  throw new TrivecError('invalid_request', `weight must be a number from ${MIN_WEIGHT} to ${MAX_WEIGHT}.`, {
    param: 'weight',
  });
}

function checkMetadata(metadata: Record<string, unknown>): void {
  let bytes = Number.POSITIVE_INFINITY;
  try {
    bytes = Buffer.byteLength(JSON.stringify(metadata));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  if (bytes <= MAX_METADATA_BYTES) return;
  throw new TrivecError(
    'invalid_request',
    `metadata may have ${MAX_METADATA_BYTES} bytes as JSON, and has ${Number.isFinite(bytes) ? bytes : 'more'}.`,
    { param: 'metadata' },
  );
}

function resolveChunking(
  requested: NonNullable<RequestedOptions['chunking']>,
  { name, maxTokens: limit }: JobModel,
): ChunkingOptions {
  const { maxTokens, overlap = 0, unit = 'sentence' } = requested;
  if (!Number.isInteger(maxTokens) || maxTokens < MIN_CHUNK_TOKENS || maxTokens > limit)
    throw new TrivecError(
      'invalid_request',
      `chunking.maxTokens must be an integer from ${MIN_CHUNK_TOKENS} to ${limit}, the longest text of ${name} in tokens, special ones included.`,
      { param: 'chunking.maxTokens' },
    );
  const most = Math.floor(maxTokens / 2);
  if (!Number.isInteger(overlap) || overlap < 0 || overlap > most)
    throw new TrivecError(
      'invalid_request',
      `chunking.overlap must be an integer from 0 to ${most}, half of chunking.maxTokens.`,
      { param: 'chunking.overlap' },
    );
  return { maxTokens, overlap, unit };
}
