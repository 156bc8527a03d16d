import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '@trivec/core/config';
import { TrivecError } from '@trivec/core/errors';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';

declare module 'fastify' {
  interface FastifyInstance {
    /** A stop has begun: readiness is false while requests are still served for SHUTDOWN_DELAY_MS. */
    isDraining(): boolean;
    /** Aborts a moment after a stop has begun: an upload may take hours, and is not waited for. */
    uploadsEnd: AbortSignal;
  }
}

/** How long a stop waits for the rest of an upload. */
const UPLOAD_GRACE_MS = 2000;

/**
 * A stop in order: readiness goes false first; new requests are told to go elsewhere, those in flight may end within SHUTDOWN_TIMEOUT_MS,
 * then their connections are cut.
 */
export const closing = fp<{ config: Pick<Config, 'shutdownTimeoutMs' | 'shutdownDelayMs'> }>(
  async (app: FastifyInstance, { config }) => {
    let isClosing = false;
    let cut: NodeJS.Timeout | undefined;
    let endUploads: NodeJS.Timeout | undefined;
    const uploadsEnd = new AbortController();
    app.decorate('uploadsEnd', uploadsEnd.signal);
    app.addHook('onRequest', async () => {
      if (!isClosing) return;
      throw new TrivecError('shutting_down', 'The server is shutting down.', { retryAfterSeconds: 5 });
    });
    // A connection that stayed open after its last answer would hold the stop up.
    app.addHook('onSend', async (_request, reply) => {
      if (isClosing) reply.header('connection', 'close');
    });
    let isDraining = false;
    app.decorate('isDraining', () => isDraining);
    app.addHook('preClose', async () => {
      isDraining = true;
      if (config.shutdownDelayMs > 0) await sleep(config.shutdownDelayMs);
      isClosing = true;
      endUploads = setTimeout(() => uploadsEnd.abort(), Math.min(UPLOAD_GRACE_MS, config.shutdownTimeoutMs));
      cut = setTimeout(() => app.server.closeAllConnections(), config.shutdownTimeoutMs);
    });
    app.addHook('onClose', async () => {
      clearTimeout(cut);
      clearTimeout(endUploads);
    });
  },
  { name: 'closing' },
);
