import { Type } from 'typebox';
import { count, option } from './option.ts';

/** Bulk jobs: limits, shards, webhooks. */
export const JOBS_OPTIONS = {
  maxJobDocuments: option(
    'MAX_JOB_DOCUMENTS',
    count(1, 100_000_000),
    10_000_000,
    'Documents of one job. Duplicate ids are found exactly up to here.',
  ),
  maxJobBytes: option('MAX_JOB_BYTES', count(1), 100 * 1024 ** 3, 'Inflated bytes of one streamed job body.'),
  maxLineBytes: option(
    'MAX_LINE_BYTES',
    count(1),
    4 * 1024 ** 2,
    'Bytes of one NDJSON line, which is one document.',
  ),
  maxOpenJobs: option(
    'MAX_OPEN_JOBS',
    count(1),
    1000,
    'Jobs of one key that are queued, running or paused; above it POST /jobs answers 429.',
  ),
  maxBacklogShards: option(
    'MAX_BACKLOG_SHARDS',
    count(1),
    200_000,
    'Shards of all jobs that still wait to be embedded, those of paused jobs aside; above it POST /jobs answers 429.',
  ),
  sourceDirs: option(
    'SOURCE_DIRS',
    Type.Array(Type.String({ minLength: 1 })),
    [],
    'Folders whose NDJSON files a job may name as its source, comma-separated. All keys see them.',
  ),
  jobRetentionMs: option(
    'JOB_RETENTION_MS',
    count(0),
    0,
    'A job that says nothing else is deleted with its results this long after its end; 0: kept.',
  ),
  allowPrivateWebhooks: option(
    'ALLOW_PRIVATE_WEBHOOKS',
    Type.Boolean(),
    false,
    'Let webhooks go to private and loopback addresses.',
  ),
  shardMaxDocuments: option(
    'SHARD_MAX_DOCUMENTS',
    count(1, 100_000),
    256,
    'Documents of one shard, the unit of work and retry.',
  ),
  shardMaxBytes: option(
    'SHARD_MAX_BYTES',
    count(1),
    128 * 1024,
    'Text bytes of one shard; a longer document stands alone.',
  ),
  maxDocumentResultBytes: option(
    'MAX_DOCUMENT_RESULT_BYTES',
    count(1),
    512 * 1024 ** 2,
    'Vectors of one document that a worker holds; a longer document fails alone. Only ColBERT of whole books comes near.',
  ),
  prefetchShards: option(
    'PREFETCH_SHARDS',
    count(0, 64),
    0,
    'Shards a worker holds at once: one runs while the next is prepared. 0: two, more where the device needs less than 15 seconds for one and 256 MiB hold their vectors, as far as the shards before tell.',
  ),
  jobTextCacheMb: option(
    'JOB_TEXT_CACHE_MB',
    count(0, 1_000_000),
    64,
    'Megabytes of vectors that a worker remembers for texts that come again in other shards of their job; 0: only those of one shard run once.',
  ),
  lockDurationMs: option(
    'LOCK_DURATION_MS',
    count(1000),
    15_000,
    'A shard whose worker is silent for this long goes to another.',
  ),
  reconcileIntervalMs: option(
    'RECONCILE_INTERVAL_MS',
    count(100),
    15_000,
    'How often committed shards that no queue knows are looked for.',
  ),
} as const;
