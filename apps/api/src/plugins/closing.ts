import type { Config } from '@trivec/core/config';
import { TrivecError } from '@trivec/core/errors';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';

/**
 * A stop in order: new requests are told to go elsewhere, those in flight may end within SHUTDOWN_TIMEOUT_MS,
 * then their connections are cut.
 */
export const closing = fp<{ config: Pick<Config, 'shutdownTimeoutMs'> }>(
  async (app: FastifyInstance, { config }) => {
    let isClosing = false;
    let cut: NodeJS.Timeout | undefined;
    app.addHook('onRequest', async (_request, reply) => {
      if (!isClosing) return;
      reply.header('connection', 'close');
      throw new TrivecError('shutting_down', 'The server is shutting down.', { retryAfterSeconds: 5 });
    });
    app.addHook('preClose', async () => {
      isClosing = true;
      cut = setTimeout(() => app.server.closeAllConnections(), config.shutdownTimeoutMs);
    });
    app.addHook('onClose', async () => clearTimeout(cut));
  },
  { name: 'closing' },
);
