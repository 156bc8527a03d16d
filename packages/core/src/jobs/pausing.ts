import { randomBytes } from 'node:crypto';
import { TrivecError } from '../errors.ts';
import type { BlobStore } from '../storage/blobStore.ts';

/** About the results of a shard: with less room than this, a resumed job would only stop again. */
const PROBE_BYTES = 1024 * 1024;

/** Whether a full storage takes blobs again. Throws `storage_unavailable`. */
export async function hasRoomAgain(storage: BlobStore): Promise<boolean> {
  const key = `probe/${randomBytes(8).toString('hex')}`;
  try {
    await storage.put(key, Buffer.alloc(PROBE_BYTES));
    return true;
  } catch (error) {
    if (error instanceof TrivecError && error.code === 'storage_full') return false;
    throw error;
  } finally {
    await storage.delete([key]);
  }
}
