import type { Backend } from '@trivec/core/backend/backend';
import type { Config } from '@trivec/core/config';
import type { JobService } from '@trivec/core/jobs/jobService';
import type { QdrantSinks } from '@trivec/core/sinks/qdrant/open';
import type { BlobStore } from '@trivec/core/storage/blobStore';
import type { Metrics } from '@trivec/core/telemetry/metrics';
import type { Logger } from 'pino';

/** What the API is built from; opened and closed by whoever calls `buildApi`. */
export interface ApiDeps {
  config: Config;
  backend: Pick<Backend, 'kind' | 'registry' | 'interactive' | 'ping'>;
  jobs: Pick<
    JobService,
    | 'submit'
    | 'admit'
    | 'dryRun'
    | 'get'
    | 'list'
    | 'cancel'
    | 'pause'
    | 'resume'
    | 'retry'
    | 'delete'
    | 'results'
    | 'errors'
    | 'search'
    | 'ingest'
  >;
  storage: Pick<BlobStore, 'description'>;
  logger: Logger;
  /** Shared with a worker in the same process; a registry of its own when absent. */
  metrics?: Metrics;
  /** Where jobs can send their vectors; none where QDRANT_URL is not set. */
  qdrant?: QdrantSinks;
  /** An ioredis client on which all API processes count their rate limits together. */
  redis?: unknown;
  /** For how long a list of workers is believed; 250 when absent. */
  registryCacheMs?: number;
}
