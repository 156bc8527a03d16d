import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';

/** Up to here a file is hashed whole; a larger one by its size and evenly spread samples. */
const WHOLE_BYTES = 64 * 1024 ** 2;
const SAMPLE_BYTES = 1024 ** 2;
const SAMPLES = 16;

/** Part of every fingerprint: raised when trivec itself turns the same tensors into other vectors. */
const FINISHING_VERSION = 1;

/**
 * What vectors depend on, as 32 hex digits. Names and times of files don't count, only what is in them.
 * A file above 64 MiB counts by its size and 16 samples of 1 MiB, first and last among them.
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
    const [step, length] = size <= WHOLE_BYTES ? [SAMPLE_BYTES, SAMPLE_BYTES] : sampling(size);
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

function sampling(size: number): [step: number, length: number] {
  return [Math.floor((size - SAMPLE_BYTES) / (SAMPLES - 1)), SAMPLE_BYTES];
}
