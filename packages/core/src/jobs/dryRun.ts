import type { ReplyTo, TokenizeTask } from '../engine/tasks.ts';
import type { Output } from '../vectors/types.ts';
import { chunkingWithin } from './chunking.ts';
import { readRules } from './intake.ts';
import { type IntakeLimits, readIntake } from './intakeReader.ts';
import { resolveOptions } from './options.ts';
import { paramOf } from './place.ts';
import type { DocumentError, JobOptions } from './records.ts';
import type { DocumentSource, DryRunReport, JobModel, RequestedOptions } from './serviceTypes.ts';
import { SHOWN_ERRORS } from './stateMachine.ts';

export interface DryRunDeps {
  config: IntakeLimits;
  /** Throws where the destination would refuse the job; changes nothing there. */
  checkDestination(options: JobOptions): Promise<unknown>;
  tokenize(task: TokenizeTask): Promise<ReplyTo<TokenizeTask>>;
  /** Of all workers of the model together; 0 where none has measured any. */
  tokensPerSecond: number;
  /** What a text is cut to: the length of the model, or less (MAX_BULK_TEXT_TOKENS). */
  maxTextTokens: number;
}

export interface DryRunInput {
  source: DocumentSource;
  options: RequestedOptions;
  model: JobModel;
  signal?: AbortSignal;
}

const SAMPLED_TEXTS = 256;
/** The rest of a longer text is taken to be like its beginning. */
const SAMPLED_CHARS = 4000;
const TEXTS_A_TASK = 32;

/**
 * Reads everything and stores nothing: what the job would be, and what it would refuse. Tokens are those of a random
 * sample of 256 texts, the same for the same documents. Throws what concerns the whole: `no_documents`, limits,
 * options, a destination that would not take it, a body that breaks off.
 */
export async function dryRun(deps: DryRunDeps, input: DryRunInput): Promise<DryRunReport> {
  const options = resolveOptions(input.options, input.model);
  await deps.checkDestination(options);
  const refused: DryRunReport['refused'] = { total: 0, byCode: {}, first: [] };
  const sample = new Sample();
  let textBytes = 0;
  await readIntake(
    input.source,
    deps.config,
    { ...readRules(input.options), skipInvalid: true },
    {
      document: ({ document }) => {
        // As the job would: what is nested too deeply throws, and is refused.
        if (document.payload !== undefined) JSON.stringify(document);
        textBytes += Buffer.byteLength(document.text);
        sample.offer(document.text);
        return undefined;
      },
      refused: ({ error, place }, id = '') => {
        refused.total++;
        refused.byCode[error.code] = (refused.byCode[error.code] ?? 0) + 1;
        const entry: DocumentError = { id, code: error.code, message: error.message, param: paramOf(place) };
        if (refused.first.length < SHOWN_ERRORS) refused.first.push(entry);
        return undefined;
      },
    },
    input.signal,
  );
  const mean = await meanTexts(deps, sample, options);
  const documents = sample.offered;
  const tokens = Math.round(mean.tokens * documents);
  const rows = Math.round(mean.rows * documents);
  return {
    documents,
    textBytes,
    tokens,
    sampledTexts: sample.texts.length,
    rows,
    estimatedSeconds: deps.tokensPerSecond > 0 ? Math.ceil(tokens / deps.tokensPerSecond) : null,
    tokensPerSecond: Math.round(deps.tokensPerSecond),
    resultBytes: Object.fromEntries(
      options.outputs.map((output) => [output, bytesOf(output, rows, tokens, options, input.model)]),
    ),
    accepted: refused.total === 0 || input.options.onInvalid === 'skip',
    refused,
  };
}

/** Tokens (special ones and prompt included) and rows of a document, on average. */
async function meanTexts(
  { tokenize, maxTextTokens }: DryRunDeps,
  { texts }: Sample,
  { prompt = '', ...options }: JobOptions,
): Promise<{ tokens: number; rows: number }> {
  const chunking = options.chunking && chunkingWithin(options.chunking, maxTextTokens);
  const heads = texts.map((text) => prompt + text.slice(0, SAMPLED_CHARS));
  let tokens = 0;
  let rows = 0;
  for (let from = 0; from < texts.length; from += TEXTS_A_TASK) {
    const reply = await tokenize({
      kind: 'tokenize',
      texts: heads.slice(from, from + TEXTS_A_TASK),
      addSpecialTokens: true,
    });
    for (const [i, { originalTokens }] of reply.texts.entries()) {
      const text = texts[from + i]!;
      const whole = originalTokens * Math.max(1, text.length / SAMPLED_CHARS);
      const limit = chunking?.maxTokens ?? maxTextTokens;
      // Chunks repeat their overlap.
      const pieces =
        chunking === undefined || whole <= limit
          ? 1
          : Math.ceil((whole - chunking.overlap) / (limit - chunking.overlap));
      rows += pieces;
      tokens += chunking === undefined ? Math.min(whole, limit) : whole + (pieces - 1) * chunking.overlap;
    }
  }
  return { tokens: tokens / texts.length, rows: rows / texts.length };
}

/** As they lie in result files. Sparse: as if every token were another term, which is the most there can be. */
function bytesOf(
  output: Output,
  rows: number,
  tokens: number,
  { dimensions }: JobOptions,
  { denseDims, colbertDims }: JobModel,
): number {
  if (output === 'dense') return rows * (dimensions ?? denseDims) * 4;
  return output === 'sparse' ? tokens * 8 : tokens * colbertDims * 2;
}

/** A uniform sample of a stream (Vitter's algorithm R), from a fixed seed. */
class Sample {
  readonly texts: string[] = [];
  offered = 0;
  private state = 0x9e3779b9;

  offer(text: string): void {
    const place = this.offered++ < SAMPLED_TEXTS ? this.texts.length : this.random(this.offered);
    if (place < SAMPLED_TEXTS) this.texts[place] = text;
  }

  /** xorshift32. */
  private random(below: number): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x >>> 0;
    return this.state % below;
  }
}
