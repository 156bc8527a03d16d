import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import './routeConfig.ts';
import type { Metrics } from '@trivec/core/telemetry/metrics';
import type { Admission } from './admission.ts';
import type { BackendWatch } from './backendWatch.ts';
import type { ApiDeps } from './deps.ts';
import type { Embedder } from './embedder.ts';
import type { EngineCalls } from './engineCalls.ts';
import type { ModelDirectory } from './modelDirectory.ts';
import type { Scorer } from './scorer.ts';

/** What routes are built from: the deps, and the handlers made of them. */
export interface Services extends Pick<ApiDeps, 'config' | 'backend' | 'jobs' | 'storage' | 'qdrant'> {
  watch: BackendWatch;
  metrics: Metrics;
  models: ModelDirectory;
  admission: Admission;
  calls: EngineCalls;
  embedder: Embedder;
  scorer: Scorer;
}

export type Routes = FastifyPluginAsyncTypebox<{ services: Services }>;
