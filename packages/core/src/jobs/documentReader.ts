import { TrivecError } from '../errors.ts';
import { type Place, parseDocument } from './documents.ts';
import { LineSplitter } from './lineSplitter.ts';
import type { Document } from './records.ts';
import type { DocumentSource } from './serviceTypes.ts';

export interface ReadDocument {
  document: Document;
  place: Place;
}

export interface ReadLimits {
  /** Inflated bytes of a streamed body. */
  maxJobBytes: number;
  maxLineBytes: number;
}

/** Checked documents in order, in batches of what one chunk of the body held. Holds no more than a chunk and a line. */
export async function* readDocuments(
  source: DocumentSource,
  limits: ReadLimits,
): AsyncGenerator<Iterable<ReadDocument>> {
  if (source.format === 'array') {
    yield readArray(source.documents);
    return;
  }
  const splitter = new LineSplitter(limits.maxLineBytes);
  let bytes = 0;
  for await (const chunk of readBody(source.body)) {
    bytes += chunk.byteLength;
    if (bytes > limits.maxJobBytes)
      throw new TrivecError(
        'body_too_large',
        `The body has more than ${limits.maxJobBytes} bytes, inflated (MAX_JOB_BYTES).`,
      );
    yield parseLines(splitter.push(chunk));
  }
  yield parseLines(splitter.end());
}

function* readArray(documents: unknown): Generator<ReadDocument> {
  if (!Array.isArray(documents))
    throw new TrivecError('invalid_request', 'documents must be an array of {id, text, payload?}.', {
      param: 'documents',
    });
  for (const [index, value] of documents.entries()) {
    const place = { index };
    yield { document: parseDocument(value, place), place };
  }
}

function* parseLines(lines: Iterable<{ text: string; number: number }>): Generator<ReadDocument> {
  for (const { text, number } of lines) {
    const place = { line: number };
    yield { document: parseDocument(parseJson(text, number), place), place };
  }
}

function parseJson(text: string, line: number): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    // The engine's own message quotes the text: only its column is taken over.
    const column = /position (\d+)/.exec(String(error))?.[1];
    const where = column === undefined ? '' : ` (at character ${Number(column) + 1})`;
    throw new TrivecError(
      'invalid_line',
      `Line ${line} is not JSON${where}. NDJSON has one object a line: {"id": …, "text": …}.`,
      { param: `line ${line}` },
    );
  }
}

async function* readBody(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (error) {
    throw bodyError(error);
  }
}

function bodyError(error: unknown): TrivecError {
  if (error instanceof TrivecError) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code.startsWith('Z_') || code.startsWith('ERR_ZLIB'))
    return new TrivecError('invalid_request', 'The compressed body is damaged or cut short.', {
      cause: error,
      param: 'content-encoding',
    });
  return new TrivecError('upload_aborted', 'The body ended before it was complete; no job was made.', {
    cause: error,
  });
}
