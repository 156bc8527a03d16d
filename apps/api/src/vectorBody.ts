import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { JsonBytes } from '@trivec/core/vectors/jsonBytes';
import type { TextVectors } from '@trivec/core/vectors/types';
import type { Embedded } from './embedder.ts';

/** A body above this goes out in pieces of about this size, so that nobody else waits while it is printed. */
const PIECE_BYTES = 256 * 1024;

export type EncodingFormat = 'float' | 'base64';

/**
 * A JSON body of vectors, printed without an object tree in between: `JSON.stringify` would print each float32 with
 * 17 digits. A Buffer where it is small, else a stream whose pieces are printed as they are sent.
 */
export function vectorBody(
  embedded: Embedded,
  format: EncodingFormat,
  shape: 'openai' | 'native',
): Buffer | Readable {
  const out = new JsonBytes();
  const steps = print(out, embedded, format, shape);
  let done = false;
  while (!done && out.length < PIECE_BYTES) done = steps.next().done === true;
  if (done) return out.take();
  return Readable.from(pieces(out, steps), { objectMode: false, highWaterMark: PIECE_BYTES });
}

async function* pieces(out: JsonBytes, steps: Generator<void>): AsyncGenerator<Buffer> {
  yield out.take();
  for (let done = false; !done; ) {
    done = steps.next().done === true;
    if (!done && out.length < PIECE_BYTES) continue;
    yield out.take();
    await nextTurn();
  }
}

/** Pauses after every text, and after every row of a matrix: one long text alone can be 100 MB. */
function* print(
  out: JsonBytes,
  { model, vectors, tokens, warnings, timings }: Embedded,
  format: EncodingFormat,
  shape: 'openai' | 'native',
): Generator<void> {
  out.raw('{"object":"list","data":[');
  for (const [index, vector] of vectors.entries()) {
    if (index > 0) out.raw(',');
    if (shape === 'openai') writeOpenAiItem(out, vector, index, format);
    else yield* writeNativeItem(out, vector, index);
    yield;
  }
  out.raw('],"model":');
  out.json(model.name);
  out.raw(',"usage":');
  out.json({ prompt_tokens: tokens, total_tokens: tokens });
  if (shape === 'native' || warnings.length > 0) {
    out.raw(',"warnings":');
    out.json(warnings);
  }
  if (shape === 'native') {
    out.raw(',"timings":');
    out.json(timings);
  }
  out.raw('}');
}

function writeOpenAiItem(
  out: JsonBytes,
  { dense }: TextVectors,
  index: number,
  format: EncodingFormat,
): void {
  const values = dense ?? new Float32Array();
  out.raw('{"object":"embedding","index":');
  out.uint(index);
  out.raw(',"embedding":');
  if (format === 'float') {
    out.floats(values);
  } else {
    // The machine's own byte order: Node runs on little-endian machines wherever onnxruntime does.
    out.raw(`"${Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString('base64')}"`);
  }
  out.raw('}');
}

function* writeNativeItem(
  out: JsonBytes,
  { tokens, dense, sparse, colbert }: TextVectors,
  index: number,
): Generator<void> {
  out.raw('{"index":');
  out.uint(index);
  out.raw(',"tokens":');
  out.uint(tokens);
  if (dense !== undefined) {
    out.raw(',"dense":');
    out.floats(dense);
  }
  if (sparse !== undefined) {
    out.raw(',"sparse":{"indices":');
    out.uints(sparse.indices);
    out.raw(',"values":');
    out.floats(sparse.values);
    out.raw('}');
  }
  if (colbert !== undefined) {
    out.raw(',"colbert":[');
    for (let row = 0; row < colbert.rows; row++) {
      if (row > 0) out.raw(',');
      out.floats(colbert.data, row * colbert.dims, (row + 1) * colbert.dims);
      yield;
    }
    out.raw(']');
  }
  out.raw('}');
}
