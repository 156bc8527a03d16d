import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Metrics } from '@trivec/core/telemetry/metrics';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';

/** An inbound id is kept where it cannot break a log line or a header. */
const SANE_ID = /^[A-Za-z0-9._:-]{1,128}$/;
/** Asked every few seconds by machines: logged at debug. */
const QUIET_ROUTES = /\/(health(\/live|\/ready)?|metrics)$/;

export function requestId(request: Pick<IncomingMessage, 'headers'>): string {
  const given = request.headers['x-request-id'];
  return typeof given === 'string' && SANE_ID.test(given) ? given : randomUUID();
}

/** `x-request-id` on every answer, one log line and one observation a request: never the URL, a header or a body. */
export const requests = fp<{ metrics: Metrics }>(
  async (app: FastifyInstance, { metrics }) => {
    app.addHook('onRequest', async (request, reply) => {
      reply.header('x-request-id', request.id);
    });
    app.addHook('onResponse', async (request, reply) => {
      const { method } = request;
      const route = request.routeOptions.url ?? 'unmatched';
      const status = reply.statusCode;
      const ms = Math.round(reply.elapsedTime);
      metrics.httpRequestSeconds.observe({ method, route, status }, reply.elapsedTime / 1000);
      request.log[QUIET_ROUTES.test(route) ? 'debug' : 'info']({ method, route, status, ms }, 'request');
    });
  },
  { name: 'requests' },
);
