import { TrivecError } from '@trivec/core/errors';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { type ApiKeys, mayUse } from '../apiKeys.ts';
import type { RateLimits } from '../rateLimits.ts';
import { clientOf } from '../viewer.ts';

/**
 * Where there are keys, everything but health and docs takes one: `Authorization: Bearer …`, `X-API-Key` or
 * `api-key`. What there is not is as closed as what there is.
 */
export const keys = fp<{ keys: ApiKeys; limits: Pick<RateLimits, 'admit'> }>(
  async (app: FastifyInstance, { keys: known, limits }) => {
    app.decorateRequest('identity', null);
    if (known.size === 0) return;
    app.addHook('onRequest', async (request) => {
      if (isPublic(request)) return;
      const given = givenKey(request);
      const key = given === undefined ? undefined : known.find(given);
      // A guess counts against the address that it comes from.
      if (key === undefined) await limits.admit(clientOf(request));
      if (given === undefined) {
        throw new TrivecError(
          'unauthorized',
          'This takes an API key: Authorization: Bearer …, or X-API-Key.',
          { param: 'authorization' },
        );
      }
      if (key === undefined)
        throw new TrivecError('unauthorized', 'The API key is not known.', { param: 'authorization' });
      request.identity = { name: key.name, admin: key.admin };
      const route = request.routeOptions.url;
      if (route !== undefined && !mayUse(key, route))
        throw new TrivecError('forbidden', `The key ${key.name} may not use ${route}.`, {
          param: 'authorization',
        });
    });
  },
  { name: 'keys' },
);

export function isPublic({ routeOptions, method }: FastifyRequest): boolean {
  const { url, config } = routeOptions;
  if (config.public === true) return true;
  return (method === 'GET' || method === 'HEAD') && url !== undefined && /^\/docs(\/|$)/.test(url);
}

function givenKey({ headers }: FastifyRequest): string | undefined {
  const bearer = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
  const other = headers['x-api-key'] ?? headers['api-key'];
  return bearer ?? (typeof other === 'string' && other !== '' ? other : undefined);
}
