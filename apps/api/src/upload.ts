import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { TrivecError } from '@trivec/core/errors';
import { unsupportedEncoding } from './plugins/bodies.ts';

/** How long a refused sender may go on sending before its connection is cut. */
const LINGER_MS = 2000;

/**
 * The bytes of an NDJSON body, inflated. Limits are the reader's: it counts what comes out. `invalid_request` for what
 * calls itself gzip and is not. A reader that stops early leaves the connection open, for the answer.
 */
export async function* uploadedBytes(body: Readable, encoding = 'identity'): AsyncGenerator<Uint8Array> {
  if (encoding === 'identity') {
    yield* body.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
    return;
  }
  if (encoding !== 'gzip') throw unsupportedEncoding(encoding, 'An NDJSON body is sent as it is, or as gzip');
  const inflated = createGunzip();
  const onError = (error: Error) => inflated.destroy(error);
  body.once('error', onError);
  body.pipe(inflated);
  try {
    yield* inflated as AsyncIterable<Uint8Array>;
  } catch (error) {
    if (!String((error as NodeJS.ErrnoException).code).startsWith('Z_')) throw error;
    throw new TrivecError('invalid_request', 'The body is not valid gzip.', {
      param: 'content-encoding',
      cause: error,
    });
  } finally {
    body.unpipe(inflated);
    body.off('error', onError);
    inflated.destroy();
  }
}

/**
 * After a refusal in the middle of an upload: the answer goes out first (cutting at once could lose it), and the rest of
 * the body is drained for a moment only.
 */
export function stopUpload(request: IncomingMessage): void {
  if (request.complete) return;
  // Who cuts the connection now is of no interest: the answer is on its way.
  request.on('error', () => {});
  request.resume();
  const cut = setTimeout(() => request.destroy(), LINGER_MS);
  cut.unref();
  request.once('close', () => clearTimeout(cut));
}
