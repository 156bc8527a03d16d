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
  if (!['gzip', 'x-gzip'].includes(encoding.toLowerCase()))
    throw unsupportedEncoding(encoding, 'An NDJSON body is sent as it is, or as gzip');
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

/** The bytes until the signal aborts, which throws `reason()`, also while the sender is silent. */
export async function* until(
  signal: AbortSignal,
  bytes: AsyncGenerator<Uint8Array>,
  reason: () => Error,
): AsyncGenerator<Uint8Array> {
  let stop = () => {};
  const onAbort = () => stop();
  signal.addEventListener('abort', onAbort);
  try {
    while (!signal.aborted) {
      // A promise of its own for each read: one raced against again and again would remember them all.
      const { done, value } = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
        stop = () => reject(reason());
        bytes.next().then(resolve, reject);
      });
      if (done) return;
      yield value;
    }
    throw reason();
  } finally {
    signal.removeEventListener('abort', onAbort);
    // Not waited for: behind a read that nothing answers it would wait for ever.
    bytes.return(undefined).catch(() => {});
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
