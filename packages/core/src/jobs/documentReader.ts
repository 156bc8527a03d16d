import { parse as parseSafely } from 'secure-json-parse';
import { TrivecError } from '../errors.ts';
import { parseDocument } from './documents.ts';
import type { FieldMapping } from './fields.ts';
import { type Line, LineSplitter } from './lineSplitter.ts';
import type { Place } from './place.ts';
import type { Document } from './records.ts';
import type { DocumentSource } from './serviceTypes.ts';

export interface ReadDocument {
  document: Document;
  place: Place;
}

/** A line or item that is no document, where such are skipped. */
export interface RefusedDocument {
  error: TrivecError;
  place: Place;
}

export interface ReadLimits {
  /** Inflated bytes of a streamed body. */
  maxJobBytes: number;
  maxLineBytes: number;
}

export interface ReadRules {
  fields?: FieldMapping;
  /** True: what is no document is yielded as refused, and the reading goes on. */
  skipInvalid?: boolean;
}

/** Checked documents in order, in batches of what one chunk of the body held. Holds no more than a chunk and a line. */
export async function* readDocuments(
  source: DocumentSource,
  limits: ReadLimits,
  rules: ReadRules = {},
): AsyncGenerator<Iterable<ReadDocument | RefusedDocument>> {
  if (source.format === 'array') {
    yield readArray(source.documents, rules);
    return;
  }
  let bytes = 0;
  const files = source.format === 'files' ? source.files : [{ body: source.body }];
  for await (const { name, body } of files as AsyncIterable<{
    name?: string;
    body: AsyncIterable<Uint8Array>;
  }>) {
    const placeOf = (line: number): Place => (name === undefined ? { line } : { line, file: name });
    const splitter = new LineSplitter<RefusedDocument>(
      limits.maxLineBytes,
      rules.skipInvalid ? (error, number) => ({ error, place: placeOf(number) }) : undefined,
    );
    try {
      for await (const chunk of readBody(body)) {
        bytes += chunk.byteLength;
        if (bytes > limits.maxJobBytes)
          throw new TrivecError(
            'body_too_large',
            `The body has more than ${limits.maxJobBytes} bytes, inflated (MAX_JOB_BYTES).`,
          );
        yield parseLines(splitter.push(chunk), rules, placeOf);
      }
      yield parseLines(splitter.end(), rules, placeOf);
    } catch (error) {
      throw name === undefined ? error : inFile(name, error);
    }
  }
}

/** Errors of single lines name their file already. */
function inFile(name: string, error: unknown): unknown {
  if (!(error instanceof TrivecError) || error.code !== 'invalid_request') return error;
  return new TrivecError('invalid_request', `${name}: ${error.message}`, { param: 'source', cause: error });
}

function* readArray(documents: unknown, rules: ReadRules): Generator<ReadDocument | RefusedDocument> {
  if (!Array.isArray(documents))
    throw new TrivecError('invalid_request', 'documents must be an array of {id, text, payload?}.', {
      param: 'documents',
    });
  for (const [index, value] of documents.entries()) {
    const place = { index };
    yield attempt(place, rules, () => parseDocument(value, place, rules.fields));
  }
}

function* parseLines(
  lines: Iterable<Line | RefusedDocument>,
  rules: ReadRules,
  placeOf: (line: number) => Place,
): Generator<ReadDocument | RefusedDocument> {
  for (const line of lines) {
    if ('error' in line) {
      yield line;
      continue;
    }
    const place = placeOf(line.number);
    yield attempt(place, rules, () => parseDocument(parseJson(line.text, line.number), place, rules.fields));
  }
}

function attempt(
  place: Place,
  { skipInvalid }: ReadRules,
  parse: () => Document,
): ReadDocument | RefusedDocument {
  try {
    return { document: parse(), place };
  } catch (error) {
    if (skipInvalid && error instanceof TrivecError) return { error, place };
    throw error;
  }
}

/** As in a JSON body. */
const PROTOTYPES = { protoAction: 'error', constructorAction: 'error' } as const;

function parseJson(text: string, line: number): unknown {
  try {
    return parseSafely(text, PROTOTYPES);
  } catch (error) {
    if (/forbidden prototype/.test(String(error)))
      throw new TrivecError(
        'invalid_line',
        `Line ${line} has a field named __proto__, or a constructor with a prototype: such names are refused.`,
        { param: `line ${line}` },
      );
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
