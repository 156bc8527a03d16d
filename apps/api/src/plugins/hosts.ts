import { isIP } from 'node:net';
import type { Config } from '@trivec/core/config';
import { TrivecError } from '@trivec/core/errors';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';

type HostConfig = Pick<Config, 'host' | 'allowedHosts' | 'allowAnonymous' | 'corsOrigins'>;

/** An API without keys on an open address would serve the whole network: it takes an explicit word. */
export function assertBindAllowed(
  config: Pick<Config, 'host' | 'allowAnonymous'>,
  { hasKeys = false }: { hasKeys?: boolean } = {},
): void {
  if (isLoopback(config.host) || config.allowAnonymous || hasKeys) return;
  throw new TrivecError(
    'invalid_config',
    `HOST: ${config.host} is reachable from other machines, and there are no API keys. ` +
      'Set API_KEYS, listen on 127.0.0.1, or set ALLOW_ANONYMOUS=true if everyone who reaches it may use it.',
    { param: 'HOST' },
  );
}

export function isLoopback(host: string): boolean {
  const bare = withoutBrackets(host).toLowerCase();
  if (isIP(bare) === 4) return bare.startsWith('127.');
  return bare === '::1' || bare === 'localhost' || bare.endsWith('.localhost');
}

function withoutBrackets(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1');
}

/**
 * Against web pages that reach for an API on the user's own machine. On a loopback bind the Host header must be a
 * loopback name (else a page whose name was re-pointed to 127.0.0.1 would count as same origin). On an open bind it is
 * looked at where ALLOWED_HOSTS says the names; an address is no name that could be re-pointed. On any bind a request
 * that changes something must not come from a page of another origin.
 */
export const hosts = fp<{ config: HostConfig }>(
  async (app: FastifyInstance, { config }) => {
    const isOpen = !isLoopback(config.host);
    const checksHost = !isOpen || config.allowedHosts.length > 0;
    const allowed = new Set([config.host, ...config.allowedHosts].map((host) => host.toLowerCase()));
    const isAllowed = (name: string) =>
      isLoopback(name) || allowed.has(name) || (isOpen && isIP(withoutBrackets(name)) !== 0);

    app.addHook('onRequest', async (request) => {
      const name = hostName(request.headers.host);
      if (checksHost && (name === undefined || !isAllowed(name))) {
        throw new TrivecError(
          'forbidden_host',
          'The Host header is not a name of this machine. Use localhost, or list the name in ALLOWED_HOSTS.',
          { param: 'host' },
        );
      }
      const changes = request.method !== 'GET' && request.method !== 'HEAD';
      if (changes && isForeignOrigin(request) && !isInvited(request.headers.origin, config.corsOrigins)) {
        throw new TrivecError('forbidden', 'Requests from web pages of another origin are refused.', {
          param: 'origin',
        });
      }
    });
  },
  { name: 'hosts' },
);

/** CORS_ORIGINS names it, or all. */
function isInvited(origin: string | undefined, origins: readonly string[]): boolean {
  return origin !== undefined && (origins.includes('*') || origins.includes(origin));
}

/** The Host header without its port, in lower case. */
function hostName(header: string | undefined): string | undefined {
  return header?.replace(/:\d*$/, '').toLowerCase();
}

function isForeignOrigin(request: FastifyRequest): boolean {
  const { origin, host } = request.headers;
  if (origin === undefined) return false;
  return !URL.canParse(origin) || new URL(origin).host !== host?.toLowerCase();
}
