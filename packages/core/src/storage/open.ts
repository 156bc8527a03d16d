import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from '../config.ts';
import { TrivecError } from '../errors.ts';
import type { BlobStore } from './blobStore.ts';
import { DiskStorage } from './disk.ts';

/** The storage that `STORAGE_URL` names; `DATA_DIR/blobs` without one. */
export async function openStorage(config: Pick<Config, 'storageUrl' | 'dataDir'>): Promise<BlobStore> {
  return DiskStorage.open(storageFolder(config));
}

function storageFolder({ storageUrl, dataDir }: Pick<Config, 'storageUrl' | 'dataDir'>): string {
  if (storageUrl === undefined) return join(dataDir, 'blobs');
  if (!storageUrl.startsWith('file:'))
    throw invalid('buckets are not supported yet; give file:///path/to/a/folder');
  try {
    return fileURLToPath(storageUrl);
  } catch (error) {
    throw invalid('is not the URL of a folder; give file:///path/to/a/folder', error);
  }
}

function invalid(reason: string, cause?: unknown): TrivecError {
  return new TrivecError('invalid_config', `STORAGE_URL: ${reason}.`, { param: 'STORAGE_URL', cause });
}
