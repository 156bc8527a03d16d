import type { EncodedText } from '../engine/types.ts';
import { TrivecError } from '../errors.ts';
import type { JobOptions } from './records.ts';

/** Of a model: what its vectors hold. */
export interface VectorSizes {
  denseDims: number;
  colbertDims: number;
}

/** Bytes that the vectors of a text take in memory: float32, and sparse as if every token were another term. */
export function resultBytes(
  tokens: number,
  { outputs, dimensions }: Pick<JobOptions, 'outputs' | 'dimensions'>,
  { denseDims, colbertDims }: VectorSizes,
): number {
  let bytes = 0;
  if (outputs.includes('dense')) bytes += (dimensions ?? denseDims) * 4;
  if (outputs.includes('sparse')) bytes += tokens * 8;
  if (outputs.includes('colbert')) bytes += tokens * colbertDims * 4;
  return bytes;
}

/**
 * The documents whose vectors would take more than `maxBytes` together: all of a document's are in memory at once, and
 * ColBERT of a book in chunks takes gigabytes. `pieces[i]` belongs to document `pieces[i].document` and was encoded as
 * `encoded[i]`.
 */
export function oversized(
  pieces: readonly { document: number }[],
  encoded: readonly (EncodedText | TrivecError)[],
  options: Pick<JobOptions, 'outputs' | 'dimensions'>,
  sizes: VectorSizes,
  maxBytes: number,
): Map<number, TrivecError> {
  const bytes = new Map<number, number>();
  pieces.forEach(({ document }, i) => {
    const text = encoded[i]!;
    if (text instanceof TrivecError) return;
    bytes.set(document, (bytes.get(document) ?? 0) + resultBytes(text.ids.length, options, sizes));
  });
  const errors = new Map<number, TrivecError>();
  for (const [document, needed] of bytes) {
    if (needed <= maxBytes) continue;
    const message =
      `The vectors of this document would take ${inMebibytes(needed)} MiB; at most ${inMebibytes(maxBytes)} MiB are held ` +
      'for one (MAX_DOCUMENT_RESULT_BYTES). Cut it into several documents, or leave colbert out.';
    errors.set(document, new TrivecError('text_too_long', message));
  }
  return errors;
}

function inMebibytes(bytes: number): number {
  return Math.ceil(bytes / 2 ** 20);
}
