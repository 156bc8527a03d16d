import { Type } from 'typebox';
import { count, option } from './option.ts';

/** Queue, ledger and storage. */
export const BACKEND_OPTIONS = {
  backendUrl: option(
    'BACKEND_URL',
    Type.String({ pattern: '^(embedded|rediss?://.+)$' }),
    'embedded',
    '`embedded` (in DATA_DIR, one process) or `redis://…` / `rediss://…` (shared by many), with `user:password@` percent-encoded. ' +
      'A certificate of your own CA: NODE_EXTRA_CA_CERTS. Rights of a Redis user: `~trivec:* &trivec:* +@all -@admin -@dangerous +info` (KEY_PREFIX).',
    { secret: true },
  ),
  keyPrefix: option(
    'KEY_PREFIX',
    Type.String({ pattern: '^[A-Za-z0-9_-]{1,32}$' }),
    'trivec',
    'Prefix of every key in Redis.',
  ),
  dataDir: option(
    'DATA_DIR',
    Type.String({ minLength: 1 }),
    './data',
    'Folder of the embedded backend and of disk storage.',
  ),
  storageUrl: option(
    'STORAGE_URL',
    Type.String({ pattern: '^(file:/.+|s3://.+)$' }),
    undefined,
    'Where shards and results lie: `file:///path`, or `s3://bucket/prefix?endpoint=https://…&region=…`; default `DATA_DIR/blobs`.',
  ),
  awsAccessKeyId: option(
    'AWS_ACCESS_KEY_ID',
    Type.String({ minLength: 1 }),
    undefined,
    'For an `s3://` storage; without it, what the AWS library finds (a profile, the role of the machine).',
    { secret: true },
  ),
  awsSecretAccessKey: option(
    'AWS_SECRET_ACCESS_KEY',
    Type.String({ minLength: 1 }),
    undefined,
    'Belongs to AWS_ACCESS_KEY_ID.',
    { secret: true },
  ),
  awsSessionToken: option(
    'AWS_SESSION_TOKEN',
    Type.String({ minLength: 1 }),
    undefined,
    'Of temporary credentials.',
    { secret: true },
  ),
  minFreeBytes: option(
    'MIN_FREE_BYTES',
    count(0),
    1024 ** 3,
    'Free bytes of disk storage that a new job needs.',
  ),
} as const;
