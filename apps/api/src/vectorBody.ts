import { Readable } from 'node:stream';
import { isTurnOver, nextTurn } from '@trivec/core/turns';
import {
  type EncodingFormat,
  toBase64,
  toBinary,
  toInt8,
  toUbinary,
  toUint8,
} from '@trivec/core/vectors/encodings';
import { JsonBytes } from '@trivec/core/vectors/jsonBytes';
import type { SparseVector, TextVectors, TokenMatrix } from '@trivec/core/vectors/types';
import type { Embedded } from './embedder.ts';

/** A body above this goes out in pieces: it is printed as fast as the client takes it. */
const WHOLE_BYTES = 256 * 1024;
const PIECE_BYTES = 64 * 1024;

export interface BodyOptions {
  /** Of the dense vector. */
  format: EncodingFormat;
  shape: 'openai' | 'native';
  withTimings: boolean;
  /** Sparse vectors by token instead of by index. */
  tokenNames: ReadonlyMap<number, string> | undefined;
}

/**
 * A JSON body of vectors, printed without an object tree in between: `JSON.stringify` would print each float32 with
 * 17 digits. A Buffer where it is small, else a stream whose pieces are printed as they are sent.
 */
export function vectorBody(embedded: Embedded, options: BodyOptions): Promise<Buffer | Readable> {
  return printed((out) => print(out, embedded, options));
}

/**
 * What `steps` prints, whole or, where it is large, while it is sent; others have their turns at its yields. The first
 * piece is printed at once: most bodies are no longer, and need not stand in line behind large ones.
 */
export async function printed(steps: (out: JsonBytes) => Generator<void>): Promise<Buffer | Readable> {
  const out = new JsonBytes();
  const running = steps(out);
  for (let done = false; !done && out.length < WHOLE_BYTES; ) {
    if (out.length >= PIECE_BYTES && isTurnOver()) await nextTurn();
    done = running.next().done === true;
    if (done) return out.take();
  }
  return Readable.from(pieces(out, running), { objectMode: false, highWaterMark: PIECE_BYTES });
}

async function* pieces(out: JsonBytes, steps: Generator<void>): AsyncGenerator<Buffer> {
  yield out.take();
  for (let done = false; !done; ) {
    if (isTurnOver()) await nextTurn();
    done = steps.next().done === true;
    if (done || out.length >= PIECE_BYTES) yield out.take();
  }
}

/** Pauses after every text, and after every row of a matrix: one long text alone can be 100 MB. */
function* print(
  out: JsonBytes,
  { model, vectors, failures, tokens, warnings, timings }: Embedded,
  options: BodyOptions,
): Generator<void> {
  const isNative = options.shape === 'native';
  out.raw('{"object":"list","data":[');
  for (const [index, vector] of vectors.entries()) {
    out.raw(index > 0 ? ',{' : '{');
    out.raw(isNative ? '"index":' : '"object":"embedding","index":');
    out.uint(index);
    if (isNative) {
      out.raw(',"tokens":');
      out.uint(vector.tokens);
    }
    const failure = failures.get(index);
    if (failure !== undefined) {
      out.raw(',"error":');
      out.json({ code: failure.code, message: failure.message });
    } else {
      yield* writeVectors(out, vector, options);
    }
    out.raw('}');
    yield;
  }
  out.raw('],"model":');
  out.json(model.name);
  out.raw(',"usage":');
  out.json({ prompt_tokens: tokens, total_tokens: tokens });
  if (isNative || warnings.length > 0) {
    out.raw(',"warnings":');
    out.json(warnings);
  }
  if (options.withTimings) {
    out.raw(',"timings":');
    out.json(timings);
  }
  out.raw('}');
}

function* writeVectors(
  out: JsonBytes,
  { dense, sparse, colbert }: TextVectors,
  { format, shape, tokenNames }: BodyOptions,
): Generator<void> {
  if (dense !== undefined) {
    out.raw(shape === 'native' ? ',"dense":' : ',"embedding":');
    writeDense(out, dense, format);
  }
  if (sparse !== undefined) {
    out.raw(',"sparse":');
    writeSparse(out, sparse, tokenNames);
  }
  if (colbert !== undefined) {
    out.raw(',"colbert":');
    yield* writeColbert(out, colbert);
  }
}

function writeDense(out: JsonBytes, dense: Float32Array, format: EncodingFormat): void {
  switch (format) {
    case 'float':
      out.floats(dense);
      return;
    case 'base64':
      out.raw(`"${toBase64(dense)}"`);
      return;
    case 'int8':
    case 'uint8': {
      const { values, scale } = format === 'int8' ? toInt8(dense) : toUint8(dense);
      out.raw(`[${values.join()}],"scale":`);
      out.float32(scale);
      return;
    }
    case 'binary':
    case 'ubinary':
      out.raw(`[${(format === 'binary' ? toBinary(dense) : toUbinary(dense)).join()}]`);
  }
}

function writeSparse(
  out: JsonBytes,
  { indices, values }: SparseVector,
  tokenNames: ReadonlyMap<number, string> | undefined,
): void {
  if (tokenNames === undefined) {
    out.raw('{"indices":');
    out.uints(indices);
    out.raw(',"values":');
    out.floats(values);
    out.raw('}');
    return;
  }
  const order = [...indices.keys()].sort((a, b) => (values[b] ?? 0) - (values[a] ?? 0));
  out.raw('[');
  for (const [place, at] of order.entries()) {
    const id = indices[at] ?? 0;
    out.raw(place > 0 ? ',{"id":' : '{"id":');
    out.uint(id);
    out.raw(',"token":');
    out.json(tokenNames.get(id) ?? '');
    out.raw(',"weight":');
    out.float32(values[at] ?? 0);
    out.raw('}');
  }
  out.raw(']');
}

/** One row a token, with a pause after each. */
export function* writeColbert(out: JsonBytes, { rows, dims, data }: TokenMatrix): Generator<void> {
  out.raw('[');
  for (let row = 0; row < rows; row++) {
    if (row > 0) out.raw(',');
    out.floats(data, row * dims, (row + 1) * dims);
    yield;
  }
  out.raw(']');
}
