import type { Readable } from 'node:stream';
import {
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadBucketCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { TrivecError } from '../errors.ts';
import type { BlobStore } from './blobStore.ts';
import { checkKey, checkPrefix } from './keys.ts';

export interface S3Location {
  bucket: string;
  /** Of every key: empty, or ends in `/`. */
  prefix: string;
  region: string;
  /** Of another server than Amazon's; buckets are then paths. */
  endpoint?: string;
}

export interface S3Credentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
}

const DELETES_A_REQUEST = 1000;
const DELETES_BEFORE_LISTING_ON = 1000;
const CONNECTION_TIMEOUT_MS = 5000;
const REQUEST_TIMEOUT_MS = 60_000;
const MAX_ATTEMPTS = 4;
const SOCKETS = 64;

const FULL = new Set([
  'XMinioStorageFull',
  'InsufficientCapacity',
  'QuotaExceeded',
  'XMinioAdminBucketQuotaExceeded',
]);

/** `s3://bucket/prefix?endpoint=…&region=…`. Throws `invalid_config`. */
export function parseS3Url(text: string): S3Location {
  const url = URL.parse(text);
  if (url === null || url.protocol !== 's3:' || url.hostname === '' || url.username !== '' || url.port !== '')
    throw invalid('is not s3://bucket/prefix?endpoint=https://…&region=…');
  for (const name of url.searchParams.keys())
    if (name !== 'endpoint' && name !== 'region')
      throw invalid(`knows no ${name.slice(0, 32)}, only endpoint and region`);
  const prefix = url.pathname.split('/').filter((segment) => segment !== '');
  if (!prefix.every((segment) => /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/.test(segment)))
    throw invalid('has a prefix of other characters than letters, digits, dot, dash and underscore');
  const endpoint = url.searchParams.get('endpoint');
  if (endpoint !== null && !/^https?:\/\/[^@?#]+$/.test(endpoint))
    throw invalid('has an endpoint that is not http://… or https://…');
  return {
    bucket: url.hostname,
    prefix: prefix.length === 0 ? '' : `${prefix.join('/')}/`,
    region: url.searchParams.get('region') ?? 'us-east-1',
    ...(endpoint !== null && { endpoint }),
  };
}

/** Blobs as objects of a bucket, at Amazon or any server that speaks S3. */
export class S3Storage implements BlobStore {
  readonly description: string;
  private readonly client: S3Client;
  private readonly bucket: string;
  private readonly prefix: string;

  private constructor(client: S3Client, { bucket, prefix }: S3Location) {
    this.client = client;
    this.bucket = bucket;
    this.prefix = prefix;
    this.description = `s3://${bucket}/${prefix}`;
  }

  /**
   * Without credentials, those that Amazon's library finds (a profile, the role of the machine).
   * Throws `invalid_config` where the bucket is missing or closed to them, `storage_unavailable` where nothing answers.
   */
  static async open(location: S3Location, credentials?: S3Credentials): Promise<S3Storage> {
    const client = new S3Client({
      region: location.region,
      maxAttempts: MAX_ATTEMPTS,
      // Other servers than Amazon's do not all know the newer checksums.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: {
        connectionTimeout: CONNECTION_TIMEOUT_MS,
        socketTimeout: REQUEST_TIMEOUT_MS,
        httpAgent: { maxSockets: SOCKETS },
        httpsAgent: { maxSockets: SOCKETS },
      },
      ...(location.endpoint !== undefined && { endpoint: location.endpoint, forcePathStyle: true }),
      ...(credentials !== undefined && { credentials }),
    });
    const storage = new S3Storage(client, location);
    try {
      await client.send(new HeadBucketCommand({ Bucket: location.bucket }));
    } catch (error) {
      client.destroy();
      if (error instanceof Error && error.name === 'CredentialsProviderError')
        throw invalid('there are no credentials; give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY', error);
      const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
      if (status === 404) throw invalid(`there is no bucket ${location.bucket}`, error);
      if (status === 403 || status === 401)
        throw invalid(`the bucket ${location.bucket} refuses these credentials`, error);
      throw s3Error(error);
    }
    return storage;
  }

  async put(key: string, body: Uint8Array): Promise<void> {
    checkKey(key);
    await guard(() => this.client.send(new PutObjectCommand({ ...this.at(key), Body: body })));
  }

  async get(key: string): Promise<Buffer | undefined> {
    checkKey(key);
    return guard(async () => {
      const body = await this.open(key);
      return body && Buffer.from(await body.transformToByteArray());
    });
  }

  async stream(key: string): Promise<Readable | undefined> {
    checkKey(key);
    return (await guard(() => this.open(key))) as Readable | undefined;
  }

  private async open(key: string) {
    try {
      return (await this.client.send(new GetObjectCommand(this.at(key)))).Body;
    } catch (error) {
      if (error instanceof S3ServiceException && error.name === 'NoSuchKey') return undefined;
      throw error;
    }
  }

  async *list(prefix: string): AsyncGenerator<{ key: string; bytes: number; modifiedAtMs: number }> {
    checkPrefix(prefix);
    let token: string | undefined;
    do {
      const page = await guard(() =>
        this.client.send(
          new ListObjectsV2Command({
            Bucket: this.bucket,
            Prefix: this.prefix + prefix,
            ...(token !== undefined && { ContinuationToken: token }),
          }),
        ),
      );
      for (const { Key = '', Size = 0, LastModified } of page.Contents ?? [])
        yield {
          key: Key.slice(this.prefix.length),
          bytes: Size,
          modifiedAtMs: LastModified?.getTime() ?? Date.now(),
        };
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  async delete(keys: readonly string[]): Promise<void> {
    keys.forEach(checkKey);
    for (let from = 0; from < keys.length; from += DELETES_A_REQUEST) {
      const Objects = keys.slice(from, from + DELETES_A_REQUEST).map((key) => ({ Key: this.prefix + key }));
      const { Errors = [] } = await guard(() =>
        this.client.send(new DeleteObjectsCommand({ Bucket: this.bucket, Delete: { Objects, Quiet: true } })),
      );
      const failed = Errors.find(({ Code }) => Code !== 'NoSuchKey');
      if (failed !== undefined) throw unavailable(failed.Code ?? 'unknown error');
    }
  }

  async deletePrefix(prefix: string): Promise<void> {
    let keys: string[] = [];
    for await (const { key } of this.list(prefix)) {
      keys.push(key);
      if (keys.length < DELETES_BEFORE_LISTING_ON) continue;
      await this.delete(keys);
      keys = [];
    }
    await this.delete(keys);
  }

  /** A bucket has no end that it would tell. */
  async freeBytes(): Promise<undefined> {
    return undefined;
  }

  async close(): Promise<void> {
    this.client.destroy();
  }

  private at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.bucket, Key: this.prefix + key };
  }
}

async function guard<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw s3Error(error);
  }
}

function s3Error(error: unknown): TrivecError {
  if (error instanceof TrivecError) return error;
  const name = error instanceof Error ? error.name : 'unknown error';
  const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
  if (FULL.has(name) || status === 507)
    return new TrivecError('storage_full', 'The bucket has no space left.', {
      cause: error,
      retryAfterSeconds: 60,
    });
  return unavailable(status === undefined ? name : `${name} (${status})`, error);
}

function unavailable(reason: string, cause?: unknown): TrivecError {
  return new TrivecError('storage_unavailable', `The storage does not work: ${reason}.`, {
    cause,
    retryAfterSeconds: 5,
  });
}

function invalid(reason: string, cause?: unknown): TrivecError {
  return new TrivecError('invalid_config', `STORAGE_URL: ${reason}.`, { param: 'STORAGE_URL', cause });
}
