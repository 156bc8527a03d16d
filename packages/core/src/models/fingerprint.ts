import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';

/** Up to here a file is hashed whole; a larger one by its size and evenly spread samples. */
const WHOLE_BYTES = 64 * 1024 ** 2;
const READ_BYTES = 1024 ** 2;
const SAMPLE_BYTES = 4096;
/** No further apart than this: whoever trains a few matrices of a model anew leaves the rest of the file as it was. */
const MAX_SAMPLE_STEP_BYTES = 1024 ** 2;
const MIN_SAMPLES = 4096;

/** Part of every fingerprint: raised when trivec itself turns the same tensors into other vectors. */
const FINISHING_VERSION = 1;

/**
 * What vectors depend on, as 32 hex digits. Names and times of files don't count, only what is in them.
 * A file above 64 MiB counts by its size and 4096 samples or more, of 4 KiB: hashing gigabytes would hold up each start.
 */
export async function fingerprintOf(files: readonly string[], facts: unknown): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify([FINISHING_VERSION, facts]));
  for (const path of files) hash.update(await digestFile(path));
  return hash.digest('hex').slice(0, 32);
}

async function digestFile(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const hash = createHash('sha256').update(`${size}\n`);
    const [step, length] = size <= WHOLE_BYTES ? [READ_BYTES, READ_BYTES] : [sampleStep(size), SAMPLE_BYTES];
    const buffer = Buffer.alloc(length);
    for (let at = 0; at < size; at += step) {
      const { bytesRead } = await file.read(buffer, 0, length, at);
      hash.update(buffer.subarray(0, bytesRead));
    }
    return hash.digest();
  } finally {
    await file.close();
  }
}

function sampleStep(sizeBytes: number): number {
  return Math.min(MAX_SAMPLE_STEP_BYTES, Math.floor(sizeBytes / MIN_SAMPLES));
}
