import type { EncodedText, Engine } from '../engine/types.ts';
import { TrivecError, toTrivecError } from '../errors.ts';
import type { ResultRow } from '../vectors/resultColumns.ts';
import type { TextVectors } from '../vectors/types.ts';
import type { Document, DocumentError, JobOptions } from './records.ts';

export interface EmbeddedDocuments {
  /** In the order of the documents; those that failed are missing. */
  rows: ResultRow[];
  errors: DocumentError[];
  tokens: number;
  truncated: number;
}

export interface EmbedCall {
  signal: AbortSignal;
  /** Awaited before each forward pass; what it throws ends the call. */
  beforeBatch: () => Promise<void>;
}

/**
 * Embeds a shard in the bulk lane. A document that fails does so alone. Throws what is worth another try
 * (retryable errors) and `cancelled`; any other failure of the whole call becomes that of each document.
 */
export async function embedDocuments(
  engine: Engine,
  documents: readonly Document[],
  options: JobOptions,
  call: EmbedCall,
): Promise<EmbeddedDocuments> {
  const encoded = await encodeAll(engine, documents);
  const outcomes: (TextVectors | TrivecError)[] = [];
  const indexes: number[] = [];
  const texts: EncodedText[] = [];
  encoded.forEach((text, index) => {
    const error = text instanceof TrivecError ? text : tooLong(text, options);
    if (error !== undefined) outcomes[index] = error;
    else {
      indexes.push(index);
      texts.push(text as EncodedText);
    }
  });
  const vectors = texts.length === 0 ? [] : await embedAll(engine, texts, options, call);
  indexes.forEach((index, i) => {
    outcomes[index] = vectors[i] ?? notRun;
  });
  return collect(documents, encoded, outcomes);
}

const notRun = new TrivecError('internal', 'The engine gave no result for this text.');

async function encodeAll(
  engine: Engine,
  documents: readonly Document[],
): Promise<(EncodedText | TrivecError)[]> {
  try {
    return await engine.encode(documents.map(({ text }) => text));
  } catch (error) {
    rethrowIfTransient(error);
  }
  // One of them made the tokenizer fail: alone, each shows whether it was that one.
  const encoded: (EncodedText | TrivecError)[] = [];
  for (const { text } of documents) {
    try {
      encoded.push((await engine.encode([text]))[0] ?? notRun);
    } catch (error) {
      rethrowIfTransient(error);
      encoded.push(
        new TrivecError('tokenizer_failed', 'The tokenizer failed on this text.', { cause: error }),
      );
    }
  }
  return encoded;
}

async function embedAll(
  engine: Engine,
  texts: readonly EncodedText[],
  options: JobOptions,
  call: EmbedCall,
): Promise<(TextVectors | TrivecError)[]> {
  try {
    const { vectors } = await engine.embed(texts, {
      outputs: options.outputs,
      lane: 'bulk',
      normalize: options.normalize,
      signal: call.signal,
      onBatch: call.beforeBatch,
      ...(options.dimensions !== undefined && { dimensions: options.dimensions }),
    });
    return vectors;
  } catch (error) {
    if (call.signal.aborted) throw new TrivecError('cancelled', 'The shard was given up.', { cause: error });
    rethrowIfTransient(error);
    return texts.map(() => toTrivecError(error));
  }
}

function rethrowIfTransient(error: unknown): void {
  const known = toTrivecError(error);
  if (known.retryable || known.code === 'cancelled') throw known;
}

function tooLong(text: EncodedText, options: JobOptions): TrivecError | undefined {
  if (options.truncate || text.originalTokens <= text.ids.length) return undefined;
  return new TrivecError(
    'text_too_long',
    `The text has ${text.originalTokens} tokens; the model takes at most ${text.ids.length}.`,
  );
}

function collect(
  documents: readonly Document[],
  encoded: readonly (EncodedText | TrivecError)[],
  outcomes: readonly (TextVectors | TrivecError)[],
): EmbeddedDocuments {
  const result: EmbeddedDocuments = { rows: [], errors: [], tokens: 0, truncated: 0 };
  documents.forEach(({ id }, index) => {
    const outcome = outcomes[index]!;
    if (outcome instanceof TrivecError) {
      result.errors.push({ id, code: outcome.code, message: outcome.message });
      return;
    }
    const text = encoded[index] as EncodedText;
    result.rows.push({ id, chunk: 0, vectors: outcome });
    result.tokens += outcome.tokens;
    if (text.originalTokens > text.ids.length) result.truncated++;
  });
  return result;
}
