import type { Config } from '@trivec/core/config';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';

/**
 * Against senders that hold a connection by sending next to nothing. Heads have a timeout of Node's own; a JSON body
 * has one in all, and no body may stand still. While it is the server that does not read, nobody is blamed.
 */
export const slowSenders = fp<{ config: Pick<Config, 'bodyIdleTimeoutMs' | 'bodyTimeoutMs'> }>(
  async (app: FastifyInstance, { config }) => {
    app.addHook('onRequest', async ({ raw, headers }) => {
      const hasBody = headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined;
      if (!hasBody || raw.complete) return;
      const { socket } = raw;
      const isJson = headers['content-type']?.startsWith('application/json') ?? false;
      let seenBytes = socket.bytesRead;
      const idle = setInterval(() => {
        const serverIsBehind = raw.readableLength > 0 || raw.isPaused();
        if (!raw.complete && socket.bytesRead === seenBytes && !serverIsBehind) raw.destroy();
        seenBytes = socket.bytesRead;
      }, config.bodyIdleTimeoutMs);
      const whole = isJson
        ? setTimeout(() => {
            if (!raw.complete) raw.destroy();
          }, config.bodyTimeoutMs)
        : undefined;
      // The connection keeps the process alive for as long as there is one.
      idle.unref();
      whole?.unref();
      const clear = () => {
        clearInterval(idle);
        clearTimeout(whole);
      };
      raw.once('end', clear).once('close', clear);
    });
  },
  { name: 'slow-senders' },
);
