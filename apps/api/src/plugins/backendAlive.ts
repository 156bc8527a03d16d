import type { Backend } from '@trivec/core/backend/backend';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import type { BackendWatch } from '../backendWatch.ts';
import { isPublic } from './keys.ts';

/** Far above what a server that lives takes, far below the patience of a client. */
const TIMEOUT_MS = 5_000;

/**
 * Requests that need a Redis which does not answer are refused before any work. The embedded backend lives in this
 * process, and synchronous work goes past it. A scrape tells what this process knows, whatever else is down.
 */
export const backendAlive = fp<{ watch: BackendWatch; backend: Pick<Backend, 'kind'> }>(
  async (app: FastifyInstance, { watch, backend }) => {
    if (backend.kind !== 'redis') return;
    app.addHook('onRequest', async (request) => {
      const route = request.routeOptions.url;
      if (route === undefined || isPublic(request) || route.endsWith('/metrics')) return;
      await watch.check(TIMEOUT_MS);
    });
  },
  { name: 'backend-alive', dependencies: ['keys'] },
);
