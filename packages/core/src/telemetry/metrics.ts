import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** Seconds. Wide, because a request of thousands of long texts on a CPU takes minutes. */
const DURATION_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

/** Everything this process counts, in a registry of its own: two APIs in one process (tests) don't collide. */
export interface Metrics {
  registry: Registry;
  /** Labels method, route (the pattern, never the URL) and status. */
  httpRequestSeconds: Histogram<'method' | 'route' | 'status'>;
  jobsSubmitted: Counter<'model'>;
  documentsSubmitted: Counter<'model'>;
  /** Texts and tokens that synchronous requests were answered for. */
  requestTexts: Counter<'model'>;
  requestTokens: Counter<'model'>;
  /** Distinct texts of synchronous requests that were known, or had to run; and those that stood there before. */
  requestTwins: Counter<'model'>;
  cacheHits: Counter<'model'>;
  cacheMisses: Counter<'model'>;
  cacheBytes: Gauge;
  /** Refused before any work; reason is `queue` or `rate_limit`. */
  requestsRefused: Counter<'reason'>;
  /** Read from the registry at each scrape by the API. */
  workers: Gauge<'model'>;
  requestsWaiting: Gauge<'model'>;
  worker: WorkerMetrics;
}

/** What a worker counts. Lane is `interactive` or `bulk`. */
export interface WorkerMetrics {
  shards: Counter<'model' | 'outcome'>;
  texts: Counter<'model' | 'lane'>;
  tokens: Counter<'model' | 'lane'>;
  /** Texts of shards whose vectors were known from another shard of the job; those remembered for it. */
  twins: Counter<'model'>;
  twinBytes: Gauge;
  tasks: Counter<'model' | 'kind' | 'outcome'>;
  tokensPerSecond: Gauge<'model' | 'device'>;
  maxBatchTokens: Gauge<'model' | 'device'>;
  /** Shards that went to a destination; outcome is `written`, what kept it from being, or an error code. */
  sinkShards: Counter<'outcome'>;
  sinkPoints: Counter;
  sinkBytes: Counter;
  sinkRetries: Counter;
  sinkSlowDowns: Counter;
}

/**
 * `processMetrics` adds prom-client's own (memory, CPU, event loop): once a process.
 * Names start with `trivec_` and carry their unit.
 */
export function createMetrics(options: { processMetrics?: boolean } = {}): Metrics {
  const registry = new Registry();
  if (options.processMetrics === true) collectDefaultMetrics({ register: registry });
  const registers = [registry];
  return {
    registry,
    httpRequestSeconds: new Histogram({
      name: 'trivec_http_request_duration_seconds',
      help: 'From the request head to the last byte of the answer.',
      labelNames: ['method', 'route', 'status'],
      buckets: DURATION_BUCKETS,
      registers,
    }),
    jobsSubmitted: new Counter({
      name: 'trivec_jobs_submitted_total',
      help: 'Jobs accepted with 202.',
      labelNames: ['model'],
      registers,
    }),
    documentsSubmitted: new Counter({
      name: 'trivec_documents_submitted_total',
      help: 'Documents of the jobs accepted.',
      labelNames: ['model'],
      registers,
    }),
    requestTexts: new Counter({
      name: 'trivec_request_texts_total',
      help: 'Texts that synchronous requests were answered for.',
      labelNames: ['model'],
      registers,
    }),
    requestTokens: new Counter({
      name: 'trivec_request_tokens_total',
      help: 'Tokens that synchronous requests were answered for, special tokens included.',
      labelNames: ['model'],
      registers,
    }),
    requestTwins: new Counter({
      name: 'trivec_request_twins_total',
      help: 'Texts of synchronous requests that stood in the same request before, and did not run again.',
      labelNames: ['model'],
      registers,
    }),
    cacheHits: new Counter({
      name: 'trivec_embedding_cache_hits_total',
      help: 'Distinct texts of synchronous requests that the cache knew.',
      labelNames: ['model'],
      registers,
    }),
    cacheMisses: new Counter({
      name: 'trivec_embedding_cache_misses_total',
      help: 'Distinct texts of synchronous requests that were sent to a worker.',
      labelNames: ['model'],
      registers,
    }),
    cacheBytes: new Gauge({
      name: 'trivec_embedding_cache_bytes',
      help: 'Bytes of the vectors that this process remembers.',
      registers,
    }),
    requestsRefused: new Counter({
      name: 'trivec_requests_refused_total',
      help: 'Requests that were told to come back later, by reason.',
      labelNames: ['reason'],
      registers,
    }),
    workers: new Gauge({
      name: 'trivec_workers',
      help: 'Workers alive, by model.',
      labelNames: ['model'],
      registers,
    }),
    requestsWaiting: new Gauge({
      name: 'trivec_requests_waiting',
      help: 'Synchronous requests that wait or run, by model.',
      labelNames: ['model'],
      registers,
    }),
    worker: createWorkerMetrics(registers),
  };
}

function createWorkerMetrics(registers: Registry[]): WorkerMetrics {
  return {
    shards: new Counter({
      name: 'trivec_worker_shards_total',
      help: 'Shards that this process ended, by outcome.',
      labelNames: ['model', 'outcome'],
      registers,
    }),
    texts: new Counter({
      name: 'trivec_worker_texts_total',
      help: 'Texts embedded by this process.',
      labelNames: ['model', 'lane'],
      registers,
    }),
    tokens: new Counter({
      name: 'trivec_worker_tokens_total',
      help: 'Tokens of the texts embedded by this process, padding not counted; copies of the same text in a job count each.',
      labelNames: ['model', 'lane'],
      registers,
    }),
    twins: new Counter({
      name: 'trivec_worker_twin_texts_total',
      help: 'Texts of a shard that did not run because the same text had run in another shard of the job.',
      labelNames: ['model'],
      registers,
    }),
    twinBytes: new Gauge({
      name: 'trivec_worker_twin_cache_bytes',
      help: 'Bytes of the vectors that this process remembers for the next shards of their jobs.',
      registers,
    }),
    tasks: new Counter({
      name: 'trivec_worker_tasks_total',
      help: 'Interactive tasks that this process answered; outcome is `ok` or an error code.',
      labelNames: ['model', 'kind', 'outcome'],
      registers,
    }),
    tokensPerSecond: new Gauge({
      name: 'trivec_worker_tokens_per_second',
      help: 'Real tokens per second of device time over the recent past.',
      labelNames: ['model', 'device'],
      registers,
    }),
    maxBatchTokens: new Gauge({
      name: 'trivec_worker_max_batch_tokens',
      help: 'Token budget of one batch, padding included.',
      labelNames: ['model', 'device'],
      registers,
    }),
    sinkShards: new Counter({
      name: 'trivec_sink_shards_total',
      help: 'Shards that this process took to their destination, by outcome.',
      labelNames: ['outcome'],
      registers,
    }),
    sinkPoints: new Counter({
      name: 'trivec_sink_points_total',
      help: 'Points that destinations took, repeated ones included.',
      registers,
    }),
    sinkBytes: new Counter({
      name: 'trivec_sink_request_bytes_total',
      help: 'Bytes of the request bodies that destinations took.',
      registers,
    }),
    sinkRetries: new Counter({
      name: 'trivec_sink_retries_total',
      help: 'Requests to destinations that were tried again.',
      registers,
    }),
    sinkSlowDowns: new Counter({
      name: 'trivec_sink_slow_downs_total',
      help: 'Times that a destination asked for fewer requests (408, 429, 503, no answer in time).',
      registers,
    }),
  };
}
