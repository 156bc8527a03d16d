import { TrivecError } from '../errors.ts';
import type { BlobStore } from '../storage/blobStore.ts';

/** About the results of a shard: with less room than this, a resumed job would only stop again. */
const PROBE_BYTES = 1024 * 1024;
/** One for all: what a process leaves that dies between the two steps, the next probe removes. */
const PROBE_KEY = 'probe/room';

/** Whether a full storage takes blobs again. Throws `storage_unavailable`. */
export async function hasRoomAgain(storage: BlobStore): Promise<boolean> {
  try {
    await storage.put(PROBE_KEY, Buffer.alloc(PROBE_BYTES));
    return true;
  } catch (error) {
    if (error instanceof TrivecError && error.code === 'storage_full') return false;
    throw error;
  } finally {
    await storage.delete([PROBE_KEY]);
  }
}
