import type { EncodedText, Engine } from '../engine/types.ts';
import { TrivecError, toTrivecError } from '../errors.ts';
import type { ResultRow } from '../vectors/resultColumns.ts';
import type { TextVectors } from '../vectors/types.ts';
import { chunkingWithin, chunkText, type Span } from './chunking.ts';
import type { ShardTexts } from './jobTexts.ts';
import type { ChunkingOptions, Document, DocumentError, JobOptions } from './records.ts';
import { oversized } from './resultSize.ts';

export interface EmbeddedDocuments {
  /** One a text (a chunk), in the order of the documents; those of failed documents are missing. */
  rows: ResultRow[];
  /** Documents whose every text succeeded. */
  embedded: number;
  errors: DocumentError[];
  /** Of all rows, those included whose vectors are a copy of a twin's. */
  tokens: number;
  truncated: number;
}

export interface EmbedCall {
  signal: AbortSignal;
  /** Awaited before each forward pass; what it throws ends the call. */
  beforeBatch: () => Promise<void>;
  /**
   * Awaited before anything that could kill the process, with the indexes of the documents that are about to go
   * through the tokenizer or the model; with none when they are back.
   */
  inFlight: (documents: readonly number[]) => Promise<void>;
  /** Of the vectors of one document, in memory; a larger one fails alone, unrun. */
  maxResultBytes?: number;
  /** Knows what other shards of the job have run; without it every text of this one runs. */
  texts?: ShardTexts | undefined;
}

/**
 * Embeds a shard in the bulk lane. Texts that stand in it several times run once. A document that fails does so alone.
 * Throws what is worth another try (retryable errors) and `cancelled`; any other failure of the whole call becomes that
 * of each document.
 */
export async function embedDocuments(
  engine: Engine,
  documents: readonly Document[],
  options: JobOptions,
  call: EmbedCall,
): Promise<EmbeddedDocuments> {
  await call.inFlight(documents.map((_, index) => index));
  const { pieces, failed } = await piecesOf(engine, documents, options, call.signal);
  const { distinct, placeOf } = distinctTexts(pieces.map(({ text }) => text));
  const encoded = await encodeAll(engine, distinct);
  await call.inFlight([]);
  const owners = distinct.map(() => [] as number[]);
  pieces.forEach(({ document }, index) => {
    owners[placeOf[index]!]!.push(document);
  });
  const ofPieces = placeOf.map((place) => encoded[place]!);
  const { maxResultBytes = Number.POSITIVE_INFINITY } = call;
  for (const [document, error] of oversized(pieces, ofPieces, options, engine.model, maxResultBytes))
    failed.set(document, error);
  const outcomes: (TextVectors | TrivecError)[] = [];
  const places: number[] = [];
  const texts: EncodedText[] = [];
  encoded.forEach((text, place) => {
    const error = text instanceof TrivecError ? text : tooLong(text, options);
    if (error !== undefined) outcomes[place] = error;
    else if (owners[place]!.every((document) => failed.has(document))) outcomes[place] = notRun;
    else {
      places.push(place);
      texts.push(text as EncodedText);
    }
  });
  const run = (chosen: readonly number[]) =>
    embedAll(
      engine,
      chosen.map((i) => texts[i]!),
      (text) => owners[places[chosen[text]!]!]!,
      options,
      call,
    );
  const vectors =
    call.texts === undefined
      ? await run([...texts.keys()])
      : await call.texts.embed(
          places.map((place) => distinct[place]!),
          call.signal,
          run,
        );
  places.forEach((place, i) => {
    outcomes[place] = vectors[i] ?? notRun;
  });
  return collect(
    documents,
    pieces,
    failed,
    ofPieces,
    placeOf.map((place) => outcomes[place]!),
  );
}

/** Each text once, in the order of their first places, and which of them each was. */
function distinctTexts(texts: readonly string[]): { distinct: string[]; placeOf: number[] } {
  const places = new Map<string, number>();
  const placeOf = texts.map((text) => {
    const place = places.get(text) ?? places.size;
    places.set(text, place);
    return place;
  });
  return { distinct: [...places.keys()], placeOf };
}

/** What the model sees of a document: all of it, or one chunk. */
interface Piece {
  /** Index of its document. */
  document: number;
  chunk: number;
  span: Span;
  /** With the prompt before it. */
  text: string;
}

async function piecesOf(
  engine: Engine,
  documents: readonly Document[],
  { chunking, prompt = '' }: JobOptions,
  signal: AbortSignal,
): Promise<{ pieces: Piece[]; failed: Map<number, TrivecError> }> {
  const pieces: Piece[] = [];
  const failed = new Map<number, TrivecError>();
  const cut =
    chunking === undefined
      ? documents.map(({ text }) => [{ start: 0, end: text.length }])
      : await chunkAll(engine, documents, chunkingWithin(chunking, engine.maxBulkTokens), prompt, signal);
  cut.forEach((spans, document) => {
    if (spans instanceof TrivecError) {
      failed.set(document, spans);
      return;
    }
    const { text } = documents[document]!;
    for (const [chunk, span] of spans.entries())
      pieces.push({ document, chunk, span, text: prompt + text.slice(span.start, span.end) });
  });
  return { pieces, failed };
}

/** Asks the tokenizer for all documents at once, as often as the one with most chunks needs it. */
async function chunkAll(
  engine: Engine,
  documents: readonly Document[],
  chunking: ChunkingOptions,
  prompt: string,
  signal: AbortSignal,
): Promise<(Span[] | TrivecError)[]> {
  const results: (Span[] | TrivecError)[] = [];
  const { distinct, placeOf } = distinctTexts(documents.map(({ text }) => text));
  let open = distinct.map((text, index) => ({
    index,
    steps: chunkText(text, chunking),
    counts: [] as number[],
  }));
  while (open.length > 0) {
    signal.throwIfAborted();
    const asked: { task: (typeof open)[number]; texts: string[] }[] = [];
    for (const task of open) {
      try {
        const step = task.steps.next(task.counts);
        if (step.done) results[task.index] = step.value;
        else asked.push({ task, texts: step.value });
      } catch (error) {
        results[task.index] = toTrivecError(error);
      }
    }
    const encoded = await encodeAll(
      engine,
      asked.flatMap(({ texts }) => texts.map((text) => prompt + text)),
    );
    let at = 0;
    for (const { task, texts } of asked) {
      const answers = encoded.slice(at, at + texts.length);
      at += texts.length;
      const failure = answers.find((answer) => answer instanceof TrivecError);
      if (failure !== undefined) results[task.index] = failure;
      task.counts = answers.map((answer) => (answer instanceof TrivecError ? 0 : answer.originalTokens));
    }
    open = asked.flatMap(({ task }) => (results[task.index] === undefined ? [task] : []));
  }
  return placeOf.map((place) => results[place]!);
}

const notRun = new TrivecError('internal', 'The engine gave no result for this text.');

async function encodeAll(engine: Engine, texts: readonly string[]): Promise<(EncodedText | TrivecError)[]> {
  if (texts.length === 0) return [];
  try {
    return await engine.encode(texts, { lane: 'bulk' });
  } catch (error) {
    rethrowIfTransient(error);
  }
  // One of them made the tokenizer fail: alone, each shows whether it was that one.
  const encoded: (EncodedText | TrivecError)[] = [];
  for (const text of texts) {
    try {
      encoded.push((await engine.encode([text], { lane: 'bulk' }))[0] ?? notRun);
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
  documentsOf: (text: number) => readonly number[],
  options: JobOptions,
  call: EmbedCall,
): Promise<(TextVectors | TrivecError)[]> {
  if (texts.length === 0) return [];
  try {
    const { vectors } = await engine.embed(texts, {
      outputs: options.outputs,
      lane: 'bulk',
      normalize: options.normalize,
      signal: call.signal,
      onBatch: async (running) => {
        await call.beforeBatch();
        await call.inFlight([...new Set(running.flatMap(documentsOf))]);
      },
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
    `The text has ${text.originalTokens} tokens; at most ${text.ids.length} are read (the model's limit, or MAX_BULK_TEXT_TOKENS).`,
  );
}

/** One text that failed fails its document: half a document would look like a whole one. */
function collect(
  documents: readonly Document[],
  pieces: readonly Piece[],
  failed: ReadonlyMap<number, TrivecError>,
  encoded: readonly (EncodedText | TrivecError)[],
  outcomes: readonly (TextVectors | TrivecError)[],
): EmbeddedDocuments {
  const errors = new Map(failed);
  pieces.forEach(({ document }, index) => {
    const outcome = outcomes[index]!;
    if (outcome instanceof TrivecError && !errors.has(document)) errors.set(document, outcome);
  });
  const truncated = new Set<number>();
  const rows: ResultRow[] = [];
  let tokens = 0;
  pieces.forEach(({ document, chunk, span }, index) => {
    if (errors.has(document)) return;
    const vectors = outcomes[index] as TextVectors;
    const text = encoded[index] as EncodedText;
    rows.push({ id: documents[document]!.id, chunk, ...span, vectors });
    tokens += vectors.tokens;
    if (text.originalTokens > text.ids.length) truncated.add(document);
  });
  return {
    rows,
    embedded: documents.length - errors.size,
    errors: [...errors]
      .sort(([a], [b]) => a - b)
      .map(([index, { code, message }]) => ({ id: documents[index]!.id, code, message })),
    tokens,
    truncated: truncated.size,
  };
}
