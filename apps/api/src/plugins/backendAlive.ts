import type { Backend } from '@trivec/core/backend/backend';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import type { BackendWatch } from '../backendWatch.ts';
import { isPublic } from './keys.ts';

/** Far above what a server that lives takes, far below the patience of a client. */
const TIMEOUT_MS = 5_000;
/** Of health, which is asked again soon. */
export const PROBE_TIMEOUT_MS = 2_000;
/** What this process tells by itself, whatever else is down. Metrics of other peers name the model, which Redis knows. */
const ALONE = /^(\/infinity)?\/metrics$|\/health\/live$|^\/docs\b|^\/openapi\.json$|^\/$/;

/**
 * Requests that need a Redis which does not answer are refused before any work. The embedded backend lives in this
 * process, and synchronous work goes past it.
 */
export const backendAlive = fp<{ watch: BackendWatch; backend: Pick<Backend, 'kind'> }>(
  async (app: FastifyInstance, { watch, backend }) => {
    if (backend.kind !== 'redis') return;
    app.addHook('onRequest', async (request) => {
      const route = request.routeOptions.url;
      if (route === undefined || ALONE.test(route)) return;
      await watch.check(isPublic(request) ? PROBE_TIMEOUT_MS : TIMEOUT_MS);
    });
  },
  { name: 'backend-alive', dependencies: ['keys'] },
);
