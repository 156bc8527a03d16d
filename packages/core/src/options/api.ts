import { Type } from 'typebox';
import { count, option } from './option.ts';

/** The HTTP server: address, keys, limits of requests. */
export const API_OPTIONS = {
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
  allowedHosts: option(
    'ALLOWED_HOSTS',
    Type.Array(Type.String({ minLength: 1 })),
    [],
    'Host names accepted in the Host header, comma-separated, beside those of this machine. An address that is not loopback takes any name where there are none here.',
  ),
  rootSurface: option(
    'ROOT_SURFACE',
    Type.Enum(['native', 'tei', 'smart-embedder', 'infinity', 'semantic-explorer', 'embedding-server']),
    'native',
    "The surface whose paths the root answers, too; it hides trivec's own where both have one. Every surface also stands under its prefix.",
  ),
  modelAliases: option(
    'MODEL_ALIASES',
    Type.Array(Type.String({ pattern: '^[^=]{1,256}=[^=]{1,256}$' })),
    [],
    'What clients may call a model: `name=model`, comma-separated, such as `text-embedding-3-small=bge-m3` for code whose model name is fixed.',
  ),
  maxBodyBytes: option('MAX_BODY_BYTES', count(1), 16 * 1024 ** 2, 'Bytes of a JSON body.'),
  maxInputs: option('MAX_INPUTS', count(1, 100_000), 2048, 'Texts of one request to POST /embeddings.'),
  maxInputChars: option(
    'MAX_INPUT_CHARS',
    count(1),
    1_000_000,
    'UTF-16 units of one text of a synchronous request.',
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
  embeddingCacheMb: option(
    'EMBEDDING_CACHE_MB',
    count(0, 1_000_000),
    64,
    'Megabytes of vectors that an API process remembers for texts that come again in synchronous requests; 0: none.',
  ),
  requestTimeoutMs: option(
    'REQUEST_TIMEOUT_MS',
    count(1),
    60_000,
    'A synchronous request that takes longer is answered 504.',
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
} as const;
