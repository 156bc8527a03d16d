import accepts from '@fastify/accepts';
import cors from '@fastify/cors';
import helmet from '@fastify/helmet';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { createMetrics } from '@trivec/core/telemetry/metrics';
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  fastify,
  LogController,
  type RawRequestDefaultExpression as RawRequest,
} from 'fastify';
import { Admission } from './admission.ts';
import { ApiKeys } from './apiKeys.ts';
import { BackendWatch } from './backendWatch.ts';
import type { ApiDeps } from './deps.ts';
import { Embedder } from './embedder.ts';
import { EmbeddingCache } from './embeddingCache.ts';
import { EngineCalls } from './engineCalls.ts';
import { ModelDirectory } from './modelDirectory.ts';
import { backendAlive } from './plugins/backendAlive.ts';
import { bodies } from './plugins/bodies.ts';
import { closing } from './plugins/closing.ts';
import { answerBrokenRequest, type ErrorSpeaker, errors, fromAny, sendError } from './plugins/errors.ts';
import { assertBindAllowed, hosts } from './plugins/hosts.ts';
import { keys } from './plugins/keys.ts';
import { openapi } from './plugins/openapi.ts';
import { rateLimiting } from './plugins/rateLimits.ts';
import { requestId, requests } from './plugins/requests.ts';
import { slowSenders } from './plugins/slowSenders.ts';
import { strictness } from './plugins/strictness.ts';
import { RateLimits } from './rateLimits.ts';
import { collectionSearchRoutes } from './routes/collectionSearch.ts';
import { cohereRoutes } from './routes/compat/cohere.ts';
import { embeddingServerRoutes } from './routes/compat/embeddingServer.ts';
import { infinityRoutes } from './routes/compat/infinity.ts';
import { openAiRoutes } from './routes/compat/openai.ts';
import { openAiError } from './routes/compat/openaiErrors.ts';
import { semanticExplorerRoutes } from './routes/compat/semanticExplorer.ts';
import { smartEmbedderRoutes } from './routes/compat/smartEmbedder.ts';
import { teiRoutes } from './routes/compat/tei.ts';
import { embeddingRoutes } from './routes/embeddings.ts';
import { healthRoutes } from './routes/health.ts';
import { jobIngestRoutes } from './routes/jobIngest.ts';
import { jobIntake } from './routes/jobIntake.ts';
import { jobResultRoutes } from './routes/jobResults.ts';
import { jobSearchRoutes } from './routes/jobSearch.ts';
import { jobRoutes } from './routes/jobs.ts';
import { modelRoutes } from './routes/models.ts';
import { rootRoutes } from './routes/root.ts';
import { scoreRoutes } from './routes/scores.ts';
import { statsRoutes } from './routes/stats.ts';
import { tokenRoutes } from './routes/tokens.ts';
import { ErrorSchema } from './schemas/common.ts';
import { JobSchema } from './schemas/jobs.ts';
import { Scorer } from './scorer.ts';
import type { Services } from './services.ts';
import { rootPaths, SURFACES } from './surfaces.ts';
import { trustedProxies } from './trustedProxies.ts';
import { validatorCompiler } from './validation.ts';

export type { ApiDeps } from './deps.ts';

/** What a web page of another origin may read of an answer's headers. */
const EXPOSED_HEADERS = [
  'x-request-id',
  'x-next-cursor',
  'x-rows',
  'retry-after',
  'ratelimit-limit',
  'ratelimit-remaining',
  'ratelimit-reset',
  'x-queue-depth',
  'x-estimated-wait-ms',
];

/** Each under its own prefix, with its own errors, health and metrics. */
const PEERS = {
  tei: teiRoutes,
  'smart-embedder': smartEmbedderRoutes,
  infinity: infinityRoutes,
  'semantic-explorer': semanticExplorerRoutes,
  'embedding-server': embeddingServerRoutes,
};

/** Only what /docs needs, and nothing from elsewhere. TLS, and with it HSTS, is the matter of a proxy in front. */
const SECURITY_HEADERS = {
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'", "'unsafe-inline'"],
      imgSrc: ["'self'", 'data:'],
      connectSrc: ["'self'"],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
  },
  strictTransportSecurity: false,
} as const;

/**
 * The API over what `deps` opened: nothing here listens or connects. `invalid_config` where HOST is open to other machines
 * and nobody said that this is meant.
 */
export async function buildApi(deps: ApiDeps): Promise<FastifyInstance> {
  const { config, backend, logger } = deps;
  const apiKeys = new ApiKeys(config);
  assertBindAllowed(config, { hasKeys: apiKeys.size > 0 });
  const metrics = deps.metrics ?? createMetrics();
  const models = new ModelDirectory(backend.registry, config.model, {
    cacheMs: deps.registryCacheMs,
    aliases: config.modelAliases,
  });
  const batchTokens = (fingerprint: string) => models.batchTokens(fingerprint);
  const admission = new Admission({ ...config, batchTokens });
  const limits = new RateLimits({ config, metrics, logger, redis: deps.redis });
  const charge = limits.charge.bind(limits);
  const calls = new EngineCalls({ lane: backend.interactive, admission, config, metrics, batchTokens });
  const watch = new BackendWatch(backend);
  const services: Services = {
    config,
    backend,
    watch,
    jobs: deps.jobs,
    storage: deps.storage,
    ...(deps.qdrant && { qdrant: deps.qdrant }),
    metrics,
    models,
    admission,
    calls,
    embedder: new Embedder({ calls, cache: new EmbeddingCache(config), config, metrics, charge }),
    scorer: new Scorer({ calls, config, metrics, charge }),
  };
  const app = fastify({
    loggerInstance: logger as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: config.maxBodyBytes,
    genReqId: requestId,
    trustProxy: trustedProxies(config),
    http: { headersTimeout: config.headersTimeoutMs, requestTimeout: 0 },
    // A closing server answers through the error handler, in the shape of every error.
    return503OnClosing: false,
    routerOptions: { ignoreTrailingSlash: true },
    rewriteUrl: rewriteRoot(config.rootSurface),
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error, request, reply) =>
      sendError(fromAny(error, config.maxBodyBytes), request, reply, rootSpeaker(request.url)),
  })
    .withTypeProvider<TypeBoxTypeProvider>()
    .setValidatorCompiler(validatorCompiler)
    // As it is: a serialiser made from the schema would coerce or drop in silence what does not fit, and tests check
    // every answer against its schema. Large bodies of vectors are printed elsewhere.
    .setSerializerCompiler(() => (value) => JSON.stringify(value));

  app.addSchema(ErrorSchema);
  app.addSchema(JobSchema);
  await app.register(requests, { metrics });
  await app.register(errors, { maxBodyBytes: config.maxBodyBytes, speakerOf: rootSpeaker });
  await app.register(helmet, SECURITY_HEADERS);
  await app.register(closing, { config });
  if (config.corsOrigins.length > 0) {
    await app.register(cors, {
      origin: config.corsOrigins.includes('*') ? '*' : [...config.corsOrigins],
      exposedHeaders: EXPOSED_HEADERS,
    });
  }
  await app.register(hosts, { config });
  await app.register(keys, { keys: apiKeys, limits });
  await app.register(backendAlive, { watch, backend });
  await app.register(rateLimiting, { limits });
  await app.register(slowSenders, { config });
  await app.register(bodies);
  await app.register(strictness);
  await app.register(accepts);
  await app.register(openapi, { needsKey: apiKeys.size > 0 });
  for (const routes of [
    jobIntake,
    jobRoutes,
    jobResultRoutes,
    jobSearchRoutes,
    jobIngestRoutes,
    collectionSearchRoutes,
    embeddingRoutes,
    scoreRoutes,
    tokenRoutes,
    openAiRoutes,
    cohereRoutes,
    statsRoutes,
    modelRoutes,
    healthRoutes,
    rootRoutes,
  ]) {
    await app.register(routes, { services });
  }
  for (const [name, routes] of Object.entries(PEERS)) {
    await app.register(routes, { services, prefix: SURFACES[name as keyof typeof PEERS].prefix });
  }
  return app as unknown as FastifyInstance;
}

/** Where no route has answered, so that none has words for it: clients of OpenAI read its error object. */
function rootSpeaker(url: string): ErrorSpeaker | undefined {
  return url.startsWith('/v1/') ? openAiError : undefined;
}

/** With ROOT_SURFACE the paths of that peer are answered at the root, before trivec's own. */
function rewriteRoot(surface: string): (request: RawRequest) => string {
  const peer = rootPaths(surface);
  return ({ url = '/', method = 'GET' }) => {
    const path = url.split('?', 1)[0]?.replace(/(.)\/$/, '$1') ?? '';
    return peer?.routes.has(`${method} ${path}`) === true ? `${peer.prefix}${url}` : url;
  };
}
