import type { Viewer } from '@trivec/core/jobs/serviceTypes';
import type { FastifyRequest } from 'fastify';

/** Who a request comes from, as the keys plugin found out. Without API keys everybody is anonymous. */
export interface Identity {
  /** The name of the key. */
  name: string;
  admin: boolean;
}

declare module 'fastify' {
  interface FastifyRequest {
    identity: Identity | null;
  }
}

/** Owns what is made without API keys; no key has this name. */
export const KEYLESS_OWNER = 'anonymous';

/** Whose jobs a request sees. Without API keys everybody is the same anonymous owner. */
export function viewerOf({ identity }: Pick<FastifyRequest, 'identity'>): Viewer {
  return { owner: identity?.name ?? KEYLESS_OWNER, admin: identity?.admin ?? false };
}

/** Whose turn it is, and whose limits count: the key, or the address where there are no keys. */
export function clientOf({ identity, ip }: Pick<FastifyRequest, 'identity' | 'ip'>): string {
  return identity === null ? `address:${ip}` : `key:${identity.name}`;
}

/** With whom a client shares what the cache knows: whoever has the same key; without keys, everybody. */
export function cacheScopeOf(client: string): string {
  return client.startsWith('key:') ? client : '';
}
