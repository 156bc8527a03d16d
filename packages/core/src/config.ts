import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { type Static, type TSchema, Type } from 'typebox';
import { Value } from 'typebox/value';
import { TrivecError } from './errors.ts';

/** One option: its environment name, its type and limits (the schema), default, and the sentence for the docs. */
interface Option<S extends TSchema = TSchema> {
  env: string;
  schema: S;
  default: Static<S> | undefined;
  description: string;
  /** Never printed. */
  secret?: boolean;
}

function option<S extends TSchema, D extends Static<S> | undefined>(
  env: string,
  schema: S,
  defaultValue: D,
  description: string,
  extra: { secret?: boolean } = {},
): Option<S> & { default: D } {
  return { env, schema, default: defaultValue, description, ...extra };
}

const count = (minimum: number, maximum = Number.MAX_SAFE_INTEGER) => Type.Integer({ minimum, maximum });

/** The one place where options are defined: type, environment name, default, docs. */
export const OPTIONS = {
  host: option('HOST', Type.String({ minLength: 1 }), '127.0.0.1', 'Address the API listens on.'),
  port: option('PORT', count(0, 65535), 8080, 'Port the API listens on; 0 takes a free one.'),
  allowAnonymous: option(
    'ALLOW_ANONYMOUS',
    Type.Boolean(),
    false,
    'Allow an API without keys on an address that is not loopback.',
  ),
  apiKeys: option(
    'API_KEYS',
    Type.Array(Type.String({ pattern: '^[A-Za-z0-9_.-]{1,64}(:(user|admin))?=[!-+--~]{16,256}$' })),
    [],
    'Keys that open the API: `name=key` or `name:admin=key`, comma-separated, a key being 16 characters or more. With keys, only health and docs are open to all.',
    { secret: true },
  ),
  apiKeysFile: option(
    'API_KEYS_FILE',
    Type.String({ minLength: 1 }),
    undefined,
    'More keys: a JSON array of `{"name", "key" or "sha256", "role"?, "routes"?}`.',
  ),
  rateLimitRequests: option(
    'RATE_LIMIT_REQUESTS',
    count(0),
    0,
    'Requests a minute of one key, or of one address without keys; 0: no limit. Shared by all API processes on Redis.',
  ),
  rateLimitTokens: option(
    'RATE_LIMIT_TOKENS',
    count(0),
    0,
    'Tokens a minute of synchronous requests of one key, or of one address without keys; 0: no limit.',
  ),
  trustedProxies: option(
    'TRUSTED_PROXIES',
    Type.Array(Type.String({ pattern: '^[0-9A-Fa-f.:]+(/\\d{1,3})?$' })),
    [],
    'Addresses or networks of proxies whose X-Forwarded-For is believed, comma-separated.',
  ),
  corsOrigins: option(
    'CORS_ORIGINS',
    Type.Array(Type.String({ pattern: '^(\\*|https?://[^/]+)$' })),
    [],
    'Origins of web pages that may call the API, comma-separated; `*` for all.',
  ),
  rootSurface: option(
    'ROOT_SURFACE',
    Type.Enum(['native', 'tei', 'smart-embedder', 'infinity', 'semantic-explorer', 'embedding-server']),
    'native',
    "The surface whose paths the root answers, too; it hides trivec's own where both have one. Every surface also stands under its prefix.",
  ),
  headersTimeoutMs: option(
    'HEADERS_TIMEOUT_MS',
    count(1),
    15_000,
    'A connection whose request head takes longer is closed.',
  ),
  bodyIdleTimeoutMs: option(
    'BODY_IDLE_TIMEOUT_MS',
    count(1),
    30_000,
    'A connection that sends nothing of its body for this long is closed.',
  ),
  bodyTimeoutMs: option(
    'BODY_TIMEOUT_MS',
    count(1),
    120_000,
    'A connection whose JSON body takes longer is closed; a streamed job may take its time.',
  ),
  shutdownDelayMs: option(
    'SHUTDOWN_DELAY_MS',
    count(0),
    0,
    'How long a stop still serves after readiness went false, so that a load balancer can notice.',
  ),
  allowedHosts: option(
    'ALLOWED_HOSTS',
    Type.Array(Type.String({ minLength: 1 })),
    [],
    'Further host names accepted in the Host header of a loopback bind, comma-separated.',
  ),
  dataDir: option(
    'DATA_DIR',
    Type.String({ minLength: 1 }),
    './data',
    'Folder of the embedded backend and of disk storage.',
  ),
  backendUrl: option(
    'BACKEND_URL',
    Type.String({ pattern: '^(embedded|rediss?://.+)$' }),
    'embedded',
    '`embedded` (in DATA_DIR, one process) or `redis://…` / `rediss://…` (shared by many).',
    { secret: true },
  ),
  keyPrefix: option(
    'KEY_PREFIX',
    Type.String({ pattern: '^[A-Za-z0-9_-]{1,32}$' }),
    'trivec',
    'Prefix of every key in Redis.',
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
  model: option(
    'MODEL',
    Type.String({ minLength: 1 }),
    'trivec-mini',
    'A catalog name, a folder, or a hub id.',
  ),
  modelsDir: option(
    'MODELS_DIR',
    Type.String({ minLength: 1 }),
    undefined,
    'Folder with more models, one folder each.',
  ),
  models: option(
    'MODELS',
    Type.Array(Type.String({ minLength: 1 })),
    [],
    'Further models of one worker, comma-separated, named as MODEL is; requests choose by name.',
  ),
  modelsMemoryBytes: option(
    'MODELS_MEMORY_BYTES',
    count(0),
    0,
    'Bytes of model files that may be loaded at once; 0: all are loaded at start. With a bound, models of MODELS are loaded on first use and the one unused longest makes room.',
  ),
  modelDtype: option(
    'MODEL_DTYPE',
    Type.Enum(['fp32', 'fp16', 'int8', 'int8-precise', 'int8-dynamic']),
    undefined,
    'fp32, fp16 and int8-dynamic take the files published as such (with int8-dynamic a vector depends a little on its neighbours in the batch). int8 and int8-precise are made from the fp32 files once, beside them: the fast choice on CPUs, the same vector in any batch. Default: fp32, or what the folder has.',
  ),
  modelsFile: option(
    'MODELS_FILE',
    Type.String({ minLength: 1 }),
    undefined,
    'JSON file with further catalog entries (docs/models.md).',
  ),
  hfHubCache: option(
    'HF_HUB_CACHE',
    Type.String({ minLength: 1 }),
    undefined,
    'Folder of downloaded models, shared with other tools of the hub; default `HF_HOME/hub`.',
  ),
  hfHome: option(
    'HF_HOME',
    Type.String({ minLength: 1 }),
    undefined,
    'The hub’s folder; default `~/.cache/huggingface`.',
  ),
  hfToken: option(
    'HF_TOKEN',
    Type.String({ minLength: 1 }),
    undefined,
    'Token for private and gated models.',
    {
      secret: true,
    },
  ),
  hfEndpoint: option(
    'HF_ENDPOINT',
    Type.String({ pattern: '^https?://[^@?#]+$' }),
    'https://huggingface.co',
    'Where models are downloaded from: the hub or a mirror of it.',
  ),
  hfHubOffline: option(
    'HF_HUB_OFFLINE',
    Type.Boolean(),
    false,
    'Download nothing: only what is in the cache is used.',
  ),
  device: option(
    'DEVICE',
    Type.String({ pattern: '^(auto|cpu|webgpu|tensorrt|cuda(:\\d+)?(,cuda:\\d+)*)$' }),
    'auto',
    'Where the model runs: auto (CUDA where there is one, else the CPU), cpu, cuda, cuda:1, webgpu, tensorrt; several GPUs as cuda:0,cuda:1. One that is named and not there ends the start.',
  ),
  intraOpThreads: option(
    'INTRA_OP_THREADS',
    count(0, 1024),
    0,
    'Threads of one forward pass; 0 takes the physical cores.',
  ),
  maxBatchTokens: option(
    'MAX_BATCH_TOKENS',
    count(0, 10_000_000),
    0,
    'Token budget of one forward pass: longest text × texts, padding included; 0 chooses for the device.',
  ),
  maxBulkBatchMs: option(
    'MAX_BULK_BATCH_MS',
    count(1, 600_000),
    500,
    'What a bulk batch may take, and so about how long a request waits for the device; lowers a budget that is not set.',
  ),
  intraOpSpinning: option(
    'INTRA_OP_SPINNING',
    Type.Boolean(),
    false,
    'Let the threads of a forward pass spin while they wait: small batches are faster, an idle worker burns its cores.',
  ),
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
  maxBodyBytes: option('MAX_BODY_BYTES', count(1), 16 * 1024 ** 2, 'Bytes of a JSON body.'),
  maxInputs: option('MAX_INPUTS', count(1, 100_000), 2048, 'Texts of one request to POST /embeddings.'),
  maxInputChars: option(
    'MAX_INPUT_CHARS',
    count(1),
    1_000_000,
    'UTF-16 units of one text of a synchronous request.',
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
  sourceDirs: option(
    'SOURCE_DIRS',
    Type.Array(Type.String({ minLength: 1 })),
    [],
    'Folders whose NDJSON files a job may name as its source, comma-separated. All keys see them.',
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
    'Shards of all jobs that still wait to be embedded; above it POST /jobs answers 429.',
  ),
  minFreeBytes: option(
    'MIN_FREE_BYTES',
    count(0),
    1024 ** 3,
    'Free bytes of disk storage that a new job needs.',
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
  maxConcurrentTasks: option(
    'MAX_CONCURRENT_TASKS',
    count(1, 10_000),
    64,
    'Pieces of synchronous work that one API process hands to the workers of a model at once.',
  ),
  maxQueuedTasks: option(
    'MAX_QUEUED_TASKS',
    count(1, 1_000_000),
    512,
    'Pieces of synchronous work that wait in one API process for a model, shared fairly by the clients; beyond it 429.',
  ),
  requestTimeoutMs: option(
    'REQUEST_TIMEOUT_MS',
    count(1),
    60_000,
    'A synchronous request that takes longer is answered 504.',
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
  prefetchShards: option(
    'PREFETCH_SHARDS',
    count(1, 64),
    2,
    'Shards a worker holds at once: one runs while the next is prepared.',
  ),
  shutdownTimeoutMs: option(
    'SHUTDOWN_TIMEOUT_MS',
    count(0),
    30_000,
    'How long a stop waits for requests in flight.',
  ),
  qdrantUrl: option(
    'QDRANT_URL',
    Type.String({ pattern: '^https?://[^@?#]+$' }),
    undefined,
    'The Qdrant server that jobs may write to, with its port (6333 without one).',
  ),
  qdrantApiKey: option(
    'QDRANT_API_KEY',
    Type.String({ minLength: 1 }),
    undefined,
    'Key for the Qdrant server.',
    {
      secret: true,
    },
  ),
  qdrantTimeoutMs: option(
    'QDRANT_TIMEOUT_MS',
    count(1),
    60_000,
    'A request to Qdrant that takes longer is tried again.',
  ),
  qdrantConcurrency: option(
    'QDRANT_CONCURRENCY',
    count(1, 64),
    4,
    'Requests to Qdrant in flight at most, of one worker; fewer while it answers 408, 429 or 503.',
  ),
  qdrantRequestBytes: option(
    'QDRANT_REQUEST_BYTES',
    count(1024, 32 * 1024 ** 2),
    8 * 1024 ** 2,
    'Bytes of one upsert; a single point that is larger travels alone. Qdrant refuses more than 32 MiB.',
  ),
  qdrantRequestPoints: option('QDRANT_REQUEST_POINTS', count(1, 10_000), 128, 'Points of one upsert.'),
  logLevel: option(
    'LOG_LEVEL',
    Type.Enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
    'info',
    'fatal, error, warn, info, debug, trace or silent.',
  ),
} as const;

type Options = typeof OPTIONS;
type Widen<T> = T extends string ? string : T extends number ? number : T extends boolean ? boolean : T;

/** Every option, parsed. `undefined` where an option has no default and was not given. */
export type Config = {
  readonly [K in keyof Options]: Options[K]['default'] extends undefined
    ? Static<Options[K]['schema']> | undefined
    : Options[K]['default'] extends readonly unknown[]
      ? readonly string[]
      : Widen<Static<Options[K]['schema']>>;
};

/**
 * Parses the environment. An empty string counts as absent.
 * Throws `invalid_config` with one line that names the option, what it got and what it takes.
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const config: Record<string, unknown> = {};
  for (const [name, spec] of Object.entries<Option>(OPTIONS)) {
    const raw = env[spec.env];
    config[name] = raw === undefined || raw === '' ? spec.default : parse(spec, raw);
  }
  return config as Config;
}

/** The environment over the `.env` file of the folder, if there is one. */
export function readEnvironment(file = '.env', env = process.env): Record<string, string | undefined> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return env;
  }
  return { ...parseEnv(text), ...env };
}

function parse(spec: Option, raw: string): unknown {
  const value = convert(spec.schema, raw);
  if (Value.Check(spec.schema, value)) return value;
  const shown = spec.secret ? 'the given value' : JSON.stringify(raw);
  // A pattern tells a person little: the description says what is meant.
  const problem =
    Type.IsArray(spec.schema) || 'pattern' in spec.schema
      ? `${shown} is malformed. ${spec.description}`
      : `${shown} is not ${describeSchema(spec.schema)}.`;
  throw new TrivecError('invalid_config', `${spec.env}: ${problem}`, { param: spec.env });
}

function convert(schema: TSchema, raw: string): unknown {
  if (Type.IsInteger(schema)) return /^-?\d+$/.test(raw) ? Number(raw) : raw;
  if (Type.IsBoolean(schema))
    return raw === 'true' || raw === '1' ? true : raw === 'false' || raw === '0' ? false : raw;
  if (Type.IsArray(schema))
    return raw
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '');
  return raw;
}

/** What an option takes, in words: used by the error and by `docs/configuration.md`. */
export function describeSchema(schema: TSchema): string {
  if (Type.IsInteger(schema)) {
    const { minimum, maximum } = schema as { minimum?: number; maximum?: number };
    return maximum === undefined || maximum === Number.MAX_SAFE_INTEGER
      ? `an integer of at least ${minimum}`
      : `an integer from ${minimum} to ${maximum}`;
  }
  if (Type.IsBoolean(schema)) return 'true or false';
  if (Type.IsArray(schema)) return 'a comma-separated list';
  if (Type.IsEnum(schema)) return `one of ${schema.enum.join(', ')}`;
  const { pattern } = schema as { pattern?: string };
  return pattern === undefined ? 'a non-empty string' : `a string that matches ${pattern}`;
}
