import accepts from '@fastify/accepts';
import helmet from '@fastify/helmet';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { createMetrics } from '@trivec/core/telemetry/metrics';
import { type FastifyBaseLogger, type FastifyInstance, fastify, LogController } from 'fastify';
import { Admission } from './admission.ts';
import type { ApiDeps } from './deps.ts';
import { Embedder } from './embedder.ts';
import { EngineCalls } from './engineCalls.ts';
import { ModelDirectory } from './modelDirectory.ts';
import { bodies } from './plugins/bodies.ts';
import { closing } from './plugins/closing.ts';
import { answerBrokenRequest, errors, fromAny, sendError } from './plugins/errors.ts';
import { assertBindAllowed, hosts } from './plugins/hosts.ts';
import { openapi } from './plugins/openapi.ts';
import { requestId, requests } from './plugins/requests.ts';
import { collectionSearchRoutes } from './routes/collectionSearch.ts';
import { cohereRoutes } from './routes/compat/cohere.ts';
import { openAiRoutes } from './routes/compat/openai.ts';
import { embeddingRoutes } from './routes/embeddings.ts';
import { healthRoutes } from './routes/health.ts';
import { jobIngestRoutes } from './routes/jobIngest.ts';
import { jobIntake } from './routes/jobIntake.ts';
import { jobResultRoutes } from './routes/jobResults.ts';
import { jobSearchRoutes } from './routes/jobSearch.ts';
import { jobRoutes } from './routes/jobs.ts';
import { modelRoutes } from './routes/models.ts';
import { scoreRoutes } from './routes/scores.ts';
import { statsRoutes } from './routes/stats.ts';
import { tokenRoutes } from './routes/tokens.ts';
import { ErrorSchema } from './schemas/common.ts';
import { JobSchema } from './schemas/jobs.ts';
import { Scorer } from './scorer.ts';
import type { Services } from './services.ts';
import { validatorCompiler } from './validation.ts';

export type { ApiDeps } from './deps.ts';

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
  assertBindAllowed(config);
  const metrics = deps.metrics ?? createMetrics();
  const models = new ModelDirectory(backend.registry, config.model, { cacheMs: deps.registryCacheMs });
  const batchTokens = (fingerprint: string) => models.batchTokens(fingerprint);
  const admission = new Admission({ ...config, batchTokens });
  const calls = new EngineCalls({ lane: backend.interactive, admission, config, metrics, batchTokens });
  const services: Services = {
    config,
    backend,
    jobs: deps.jobs,
    storage: deps.storage,
    ...(deps.qdrant && { qdrant: deps.qdrant }),
    metrics,
    models,
    admission,
    calls,
    embedder: new Embedder({ calls, config, metrics }),
    scorer: new Scorer({ calls, config, metrics }),
  };
  const app = fastify({
    loggerInstance: logger as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: config.maxBodyBytes,
    genReqId: requestId,
    // A closing server answers through the error handler, in the shape of every error.
    return503OnClosing: false,
    routerOptions: { ignoreTrailingSlash: true },
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error, request, reply) =>
      sendError(fromAny(error, config.maxBodyBytes), request, reply),
  })
    .withTypeProvider<TypeBoxTypeProvider>()
    .setValidatorCompiler(validatorCompiler)
    // As it is: a serialiser made from the schema would coerce or drop in silence what does not fit, and tests check
    // every answer against its schema. Large bodies of vectors are printed elsewhere.
    .setSerializerCompiler(() => (value) => JSON.stringify(value));

  app.decorateRequest('identity', null);
  app.addSchema(ErrorSchema);
  app.addSchema(JobSchema);
  await app.register(requests, { metrics });
  await app.register(errors, { maxBodyBytes: config.maxBodyBytes });
  await app.register(helmet, SECURITY_HEADERS);
  await app.register(closing, { config });
  await app.register(hosts, { config });
  await app.register(bodies);
  await app.register(accepts);
  await app.register(openapi);
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
  ]) {
    await app.register(routes, { services });
  }
  return app as unknown as FastifyInstance;
}
