import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from '../config.ts';
import { TrivecError } from '../errors.ts';
import { unusableFolder } from '../folders.ts';
import type { BlobStore } from './blobStore.ts';
import { DiskStorage } from './disk.ts';

type StorageConfig = Pick<Config, 'storageUrl' | 'dataDir'> &
  Partial<Pick<Config, 'awsAccessKeyId' | 'awsSecretAccessKey' | 'awsSessionToken'>>;

/**
 * The storage that `STORAGE_URL` names; `DATA_DIR/blobs` without one. Throws `invalid_config` for a folder that cannot be
 * used, `storage_unavailable` or `storage_full` for what may heal.
 */
export async function openStorage(config: StorageConfig): Promise<BlobStore> {
  if (config.storageUrl?.startsWith('s3:')) {
    // A large library, that only a bucket needs.
    const { S3Storage, parseS3Url } = await import('./s3.ts');
    return S3Storage.open(parseS3Url(config.storageUrl), credentialsOf(config));
  }
  const folder = storageFolder(config);
  try {
    return await DiskStorage.open(folder);
  } catch (error) {
    const option = config.storageUrl === undefined ? 'DATA_DIR' : 'STORAGE_URL';
    throw unusableFolder(option, folder, (error as Error).cause) ?? error;
  }
}

function credentialsOf({ awsAccessKeyId, awsSecretAccessKey, awsSessionToken }: StorageConfig) {
  if (awsAccessKeyId === undefined || awsSecretAccessKey === undefined) return undefined;
  return {
    accessKeyId: awsAccessKeyId,
    secretAccessKey: awsSecretAccessKey,
    ...(awsSessionToken !== undefined && { sessionToken: awsSessionToken }),
  };
}

function storageFolder({ storageUrl, dataDir }: Pick<Config, 'storageUrl' | 'dataDir'>): string {
  if (storageUrl === undefined) return join(dataDir, 'blobs');
  if (!storageUrl.startsWith('file:')) throw invalid('give file:///path/to/a/folder or s3://bucket/prefix');
  try {
    return fileURLToPath(storageUrl);
  } catch (error) {
    throw invalid('is not the URL of a folder; give file:///path/to/a/folder', error);
  }
}

function invalid(reason: string, cause?: unknown): TrivecError {
  return new TrivecError('invalid_config', `STORAGE_URL: ${reason}.`, { param: 'STORAGE_URL', cause });
}
